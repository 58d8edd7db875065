//! The chains of an auth graph compared with passes over all its events, on randomly grown graphs; and states compared
//! with plain maps.

use std::collections::BTreeMap;

use plexus_protocol::{
    id::EventId,
    rules::RoomVersion,
    state_res::{AuthGraph, ChainPosition, Key, Node, State},
};

use crate::{cases, generate::Generator, linear, random_room::RandomRoom};

/// The arguments with which an event was added.
type Parts = (EventId, &'static str, String, Vec<EventId>);

const TYPES: [&str; 5] =
    ["m.room.power_levels", "m.room.join_rules", "m.room.member", "m.room.topic", "org.example.state"];

/// A graph in which events mostly refer to recent events, and mostly to the last event of their own key.
fn grow(random: &mut Generator, events: u64) -> (AuthGraph, Vec<Parts>) {
    let mut graph = AuthGraph::new();
    let mut parts: Vec<Parts> = Vec::new();
    let mut last: BTreeMap<(&str, String), EventId> = BTreeMap::new();
    let keys = 1 + random.below(8);
    let recent = 2 + random.below(events);
    let faithful = random.below(11);
    for number in 0..events {
        let event_type = if number == 0 { "m.room.create" } else { random.pick(&TYPES) };
        let key = if event_type == "m.room.member" { format!("@u{}:a", random.below(keys)) } else { String::new() };
        let mut auth = Vec::new();
        for _ in 0..random.below(4).min(number) {
            let back = 1 + random.below(recent.min(number));
            auth.push(parts[(number - back) as usize].0.clone());
        }
        let id: EventId = format!("$e{number}").parse().unwrap();
        let own = last.insert((event_type, key.clone()), id.clone());
        auth.extend(own.filter(|_| random.below(10) < faithful));
        graph.add_parts(&id, event_type, &key, &auth);
        parts.push((id, event_type, key, auth));
    }
    (graph, parts)
}

/// States that agree on some of their entries: the value of a key may be any of its events.
fn states(random: &mut Generator, graph: &AuthGraph, count: u64) -> Vec<State> {
    let nodes: Vec<Node> = graph.nodes().collect();
    let first = State::from_nodes(graph, nodes.iter().copied().filter(|_| random.below(3) > 0));
    let mut change = |state: &State| {
        let mut state = state.clone();
        for _ in 0..random.below(6) {
            let node = random.pick(&nodes);
            match random.below(4) {
                0 => state.unset(graph.key_of(node)),
                _ => state.set(graph, node),
            };
        }
        // Built independently, or sharing structure.
        match random.below(2) {
            0 => State::from_nodes(graph, state.iter().map(|(_, node)| node).collect::<Vec<_>>()),
            _ => state,
        }
    };
    (0..count).map(|_| change(&first)).collect()
}

fn compare(random: &mut Generator, graph: &AuthGraph, states: &[State]) -> usize {
    let difference = graph.auth_difference(states);
    assert_eq!(difference, linear::auth_difference(graph, states));
    let most = 1 + random.below(6) as usize;
    let some: Vec<Node> = graph.nodes().filter(|_| random.below(4) == 0).take(most).collect();
    assert_eq!(graph.conflicted_subgraph(&some), linear::conflicted_subgraph(graph, &some));
    assert_eq!(graph.auth_chain(&some), linear::auth_chain(graph, &some));
    difference.len()
}

#[test]
fn chains_agree_with_passes_over_the_whole_graph() {
    let mut random = Generator::new(31);
    let mut differences = 0;
    for _ in 0..cases() {
        // In a small room a conflict is a large part of it, in a larger one it is not: these take different code paths.
        let (events, count) = match random.below(3) {
            0 => (1 + random.below(60), random.below(5)),
            1 => (1 + random.below(60), if random.below(20) == 0 { 60 + random.below(90) } else { 2 }),
            _ => (100 + random.below(500), 2 + random.below(2)),
        };
        let (graph, _) = grow(&mut random, events);
        let states = states(&mut random, &graph, count);
        differences += compare(&mut random, &graph, &states);
    }
    assert!(differences as u64 > cases(), "only {differences} events in differences");
}

#[test]
fn chains_agree_in_rooms() {
    let mut random = Generator::new(32);
    for seed in 0..cases() / 10 {
        let version = RoomVersion::ALL[seed as usize % RoomVersion::ALL.len()];
        let mut room = RandomRoom::new(version, seed);
        (0..80).for_each(|_| room.step());
        let graph = &room.room.graph;
        let states: Vec<State> = room.states().iter().map(|state| State::new(graph, state.values()).unwrap()).collect();
        compare(&mut random, graph, &states);
    }
}

/// Positions and links alone, as a store would keep them, give the same results.
#[test]
fn positions_and_links_are_the_whole_index() {
    let mut random = Generator::new(33);
    for _ in 0..cases() / 20 {
        let events = 1 + random.below(40);
        let (graph, parts) = grow(&mut random, events);
        for node in graph.nodes() {
            let mut chain: Vec<Node> =
                graph.nodes().filter(|other| *other != node && is_below(&graph, *other, node)).collect();
            chain.sort_unstable();
            assert_eq!(chain, graph.auth_chain(&[node]));
        }
        // Added again in order of number, everything has the same position.
        let mut again = AuthGraph::new();
        for node in graph.nodes() {
            let (id, event_type, key, auth) = parts.iter().find(|(id, ..)| id == graph.id(node)).unwrap();
            again.add_parts(id, event_type, key, auth);
        }
        assert_eq!(again.chain_count(), graph.chain_count());
        assert!(graph.nodes().all(|node| again.chain_position(node) == graph.chain_position(node)));
        for chain in 0..u32::try_from(graph.chain_count()).unwrap() {
            assert!(again.chain_links(chain).eq(graph.chain_links(chain)));
        }
    }
}

/// Decides reachability by positions and links.
fn is_below(graph: &AuthGraph, below: Node, above: Node) -> bool {
    let target = graph.chain_position(below);
    let mut reached: BTreeMap<u32, u32> = BTreeMap::new();
    let mut next = vec![graph.chain_position(above)];
    while let Some(ChainPosition { chain, sequence }) = next.pop() {
        if reached.get(&chain).is_some_and(|known| *known >= sequence) {
            continue;
        }
        reached.insert(chain, sequence);
        next.extend(graph.chain_links(chain).filter(|link| link.from.sequence <= sequence).map(|link| link.to));
    }
    reached.get(&target.chain).is_some_and(|sequence| *sequence >= target.sequence)
}

#[test]
fn states_are_maps() {
    let mut random = Generator::new(34);
    let mut graph = AuthGraph::new();
    for number in 0..3_000 {
        let id: EventId = format!("$e{number}").parse().unwrap();
        graph.add_parts(&id, "m.room.member", &format!("@u{}:a", number % 1_500), &[]);
    }
    let nodes: Vec<Node> = graph.nodes().collect();
    for _ in 0..cases() / 20 {
        let mut state = State::default();
        let mut model: BTreeMap<Key, Node> = BTreeMap::new();
        let most = random.pick(&[1, 40, 3_000]);
        for _ in 0..random.below(200) {
            let node = nodes[random.below(most) as usize];
            let key = graph.key_of(node);
            match random.below(3) {
                0 => assert_eq!(state.unset(key), model.remove(&key)),
                _ => assert_eq!(state.set(&graph, node), model.insert(key, node)),
            }
            assert_eq!((state.len(), state.is_empty()), (model.len(), model.is_empty()));
        }
        assert!(state.iter().eq(model.iter().map(|(key, node)| (*key, *node))));
        assert_eq!(state.iter().len(), model.len());
        assert!(nodes.iter().all(|node| state.get(graph.key_of(*node)) == model.get(&graph.key_of(*node)).copied()));
        assert_eq!(State::from_nodes(&graph, model.values().copied()), state);
        let mut other = state.clone();
        let changed = nodes[random.below(3_000) as usize];
        let before = other.set(&graph, changed);
        let expected = if before == Some(changed) { vec![] } else { vec![graph.key_of(changed)] };
        assert_eq!(state.changed_keys(&other), expected);
        assert_eq!(state == other, expected.is_empty());
    }
}
