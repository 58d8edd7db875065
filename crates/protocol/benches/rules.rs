//! Benchmarks of authorization, push rules and state resolution, the last compared with ruma's in the same run.
//!
//! `cargo bench -p plexus-protocol --bench rules`; docs/benchmarks.md has results and the machine they were measured
//! on.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a benchmark panics where it fails")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../tests/it/linear.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod linear;
#[path = "../tests/it/room.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod room;
#[path = "../tests/it/ruma_pdu.rs"]
mod ruma_pdu;

use std::{
    collections::HashSet,
    hint::black_box,
    time::{Duration, Instant},
};

use plexus_protocol::{
    auth::{self, AuthEvent},
    event::Pdu,
    id::{EventId, UserId},
    json::Object,
    power_levels::PowerLevels,
    push_rules::{CompiledRuleset, EventView, Owner, RoomContext, default_ruleset},
    rules::RoomVersion,
    state_res::{AuthGraph, Key, Node, Resolution, State, resolve},
};
use room::{NewEvent, Room, StateMap};
use ruma_state_res::utils::event_id_set::EventIdSet;

const VERSION: RoomVersion = RoomVersion::V11;
/// How many members each branch changes, besides topic and power levels.
const CHANGES: usize = 50;

fn main() {
    memory();
    authorization();
    push_rules();
    println!("\nresolving branches that each change {CHANGES} members, the topic and the power levels");
    println!("{:>9} {:>8} {:>12} {:>12} {:>12} {:>8}", "state", "branches", "plexus", "sharing", "ruma", "times");
    for members in [1_000, 10_000, 100_000] {
        for branches in [2, 5, 20] {
            resolution(members, branches);
        }
    }
    println!(
        "\nby passes over the whole graph, and by chains: of the same branches, and where they change all members"
    );
    print!("{:>9} {:>8} {:>8}", "state", "branches", "changes");
    println!("{:>12} {:>10} {:>8} {:>12} {:>10} {:>8}", "difference", "chains", "", "subgraph", "chains", "");
    for members in [1_000, 10_000, 100_000] {
        for branches in [2, 5, 20] {
            reachability(members, branches, CHANGES);
        }
    }
    for branches in [2, 5, 20] {
        reachability(10_000, branches, 10_000);
    }
}

/// The memory of an auth graph, by the growth of the process.
fn memory() {
    const EVENTS: usize = 100_000;
    let resident = || -> Option<usize> {
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        Some(pages.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
    };
    let before = resident();
    let id = |n: usize| -> EventId { format!("$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH{n:05}").parse().unwrap() };
    let mut graph = AuthGraph::new();
    graph.add_parts(&id(0), "m.room.create", "", &[]);
    graph.add_parts(&id(1), "m.room.power_levels", "", &[id(0)]);
    graph.add_parts(&id(2), "m.room.join_rules", "", &[id(0), id(1)]);
    for n in 3..EVENTS {
        graph.add_parts(&id(n), "m.room.member", &format!("@user{n}:example.org"), &[id(0), id(1), id(2)]);
    }
    let graph_made = resident();
    let state = State::from_nodes(&graph, graph.nodes());
    let state_made = resident();
    let each = |from: Option<usize>, to: Option<usize>| to.unwrap_or(0).saturating_sub(from.unwrap_or(0)) / EVENTS;
    println!("memory: {} bytes an event in an auth graph of {EVENTS} members", each(before, graph_made));
    println!("memory: {} bytes an entry in a state of {}\n", each(graph_made, state_made), state.len());
}

struct Bench {
    room: Room,
    state: StateMap,
    count: usize,
}

impl Bench {
    fn new(members: usize) -> Self {
        let mut this = Self { room: Room::new(VERSION), state: StateMap::new(), count: 0 };
        this.send("@alice:a", "m.room.create", Some(""), r#"{"room_version":"11"}"#);
        this.send("@alice:a", "m.room.member", Some("@alice:a"), r#"{"membership":"join"}"#);
        this.send("@alice:a", "m.room.power_levels", Some(""), r#"{"users":{"@alice:a":100}}"#);
        this.send("@alice:a", "m.room.join_rules", Some(""), r#"{"join_rule":"public"}"#);
        this.send("@alice:a", "m.room.topic", Some(""), r#"{"topic":"all"}"#);
        for member in 0..members {
            if member % (members / 10) == members / 20 {
                let levels = format!(r#"{{"users":{{"@alice:a":100,"@moderator{member}:a":50}}}}"#);
                this.send("@alice:a", "m.room.power_levels", Some(""), &levels);
            }
            let user = format!("@user{member}:a");
            this.send(&user, "m.room.member", Some(&user), r#"{"membership":"join"}"#);
        }
        this
    }

    fn send(&mut self, sender: &str, event_type: &str, state_key: Option<&str>, content: &str) -> Pdu {
        let depth = self.count as u64 + 1;
        let name = if self.count == 0 { "create".to_owned() } else { format!("e{}", self.count) };
        let pdu = self.room.add(NewEvent {
            name: &name,
            sender,
            event_type,
            state_key,
            content: Object::parse(content).unwrap(),
            time: depth,
            depth,
            prev: if self.count == 0 { vec![] } else { vec![self.room.id("create"); 2] },
            state: &self.state,
            auth: None,
        });
        self.count += 1;
        if let Some(state_key) = state_key {
            self.state.insert((event_type.to_owned(), state_key.to_owned()), pdu.event_id().clone());
        }
        pdu
    }

    /// The state after a few changes, leaving that of the room as it is.
    fn branch(&mut self, number: usize, changes: usize) -> StateMap {
        let before = self.state.clone();
        let levels = format!(r#"{{"users":{{"@alice:a":100,"@user{number}:a":50}}}}"#);
        self.send("@alice:a", "m.room.power_levels", Some(""), &levels);
        self.send("@alice:a", "m.room.topic", Some(""), &format!(r#"{{"topic":"{number}"}}"#));
        for change in 0..changes {
            let user = match changes {
                CHANGES => format!("@user{}:a", change * 7 + number % 3),
                _ => format!("@user{change}:a"),
            };
            let content = format!(r#"{{"membership":"join","displayname":"{number}"}}"#);
            self.send(&user, "m.room.member", Some(&user), &content);
        }
        std::mem::replace(&mut self.state, before)
    }

    /// Branches as states that share what they have in common.
    fn states(&mut self, branches: usize, changes: usize) -> Vec<State> {
        let base = State::new(&self.room.graph, self.state.values()).unwrap();
        let before = self.state.clone();
        let mut state = |number| {
            let branch = self.branch(number, changes);
            let mut state = base.clone();
            for (_, id) in branch.iter().filter(|(key, id)| before.get(*key) != Some(id)) {
                state.set(&self.room.graph, self.room.graph.node(id).unwrap());
            }
            state
        };
        (0..branches).map(&mut state).collect()
    }
}

fn authorization() {
    let mut bench = Bench::new(1_000);
    let events = [
        ("message", bench.send("@user5:a", "m.room.message", None, r#"{"body":"hello","msgtype":"m.text"}"#)),
        ("topic", bench.send("@alice:a", "m.room.topic", Some(""), r#"{"topic":"t"}"#)),
        ("join", bench.send("@new:a", "m.room.member", Some("@new:a"), r#"{"membership":"join"}"#)),
        ("kick", bench.send("@alice:a", "m.room.member", Some("@user5:a"), r#"{"membership":"leave"}"#)),
        ("power levels", bench.send("@alice:a", "m.room.power_levels", Some(""), r#"{"users":{"@alice:a":100}}"#)),
    ];
    // Like a room in memory: two lookups by borrowed text.
    let mut state: std::collections::HashMap<&str, std::collections::HashMap<&str, Pdu>> = Default::default();
    for ((event_type, state_key), id) in &bench.state {
        state.entry(event_type).or_default().insert(state_key, bench.room.events[id].clone());
    }
    let lookup = |event_type: &str, state_key: &str| state.get(event_type)?.get(state_key).cloned();
    println!("authorization, per event");
    for (name, event) in &events {
        each(name, 200_000, || _ = black_box(auth::check(VERSION.rules(), event, &lookup)));
    }
    let by_id = |id: &EventId| bench.room.events.get(id).map(|pdu| AuthEvent { pdu: pdu.clone(), rejected: false });
    each("message, its auth events", 200_000, || {
        black_box(auth::check_state_independent(VERSION.rules(), &events[0].1, &by_id)).unwrap();
    });
}

fn push_rules() {
    let owner: UserId = "@alice:a".parse().unwrap();
    let rules = CompiledRuleset::new(&default_ruleset(&owner), &owner);
    let message = |content: &str| Object::parse(content).unwrap();
    let plain =
        message(r#"{"body":"a message of some length, as people write them","msgtype":"m.text","m.mentions":{}}"#);
    let mention = message(r#"{"body":"Alice: hello","msgtype":"m.text","m.mentions":{"user_ids":["@alice:a"]}}"#);
    let levels = PowerLevels::new(VERSION.rules(), &[], None);
    let room = RoomContext { member_count: 100, power_levels: Some(&levels) };
    let owner = Owner { user_id: &owner, display_name: Some("Alice"), thread_subscribed: None };
    println!("\npush rules, per event and rule set");
    for (name, content) in [("plain message", &plain), ("mention", &mention)] {
        let event = EventView {
            event_id: "$e",
            room_id: "!room:a",
            sender: "@bob:a",
            event_type: "m.room.message",
            state_key: None,
            content,
        };
        each(name, 200_000, || _ = black_box(rules.evaluate(&event, &room, owner)));
        each(&format!("{name}, for all"), 200_000, || _ = black_box(rules.evaluate_for_all(&event, &room)));
    }
}

fn resolution(members: usize, branches: usize) {
    let mut bench = Bench::new(members);
    let sharing = bench.states(branches, CHANGES);
    let room = bench.room;
    let maps: Vec<StateMap> = sharing.iter().map(|state| room.map(state)).collect();
    let states: Vec<State> = maps.iter().map(|map| State::new(&room.graph, map.values()).unwrap()).collect();
    let lookup = |id: &EventId| room.events.get(id).map(|pdu| AuthEvent { pdu: pdu.clone(), rejected: false });
    let resolved = |states: &[State]| match resolve(VERSION.rules(), &room.graph, states, &lookup).unwrap() {
        Resolution::Resolved(state) => state,
        Resolution::Need(events) => panic!("needs {events:?}"),
    };
    let (ours, result) = best(20, || resolved(&states));
    let (ours_sharing, same) = best(20, || resolved(&sharing));
    assert_eq!(result, same);

    let events: ruma_pdu::Events =
        room.events.values().map(|pdu| (ruma_pdu::id(pdu.event_id()), ruma_pdu::RumaPdu::from(pdu))).collect();
    let entry =
        |((kind, key), id): (&(String, String), &EventId)| ((kind.as_str().into(), key.clone()), ruma_pdu::id(id));
    let ruma_states: Vec<ruma_state_res::StateMap<ruma_pdu::RumaId>> =
        maps.iter().map(|map| map.iter().map(entry).collect()).collect();
    // The preparation that ruma requires from its caller, which is not measured.
    let chains: Vec<EventIdSet<ruma_pdu::RumaId>> = states
        .iter()
        .map(|state| {
            let nodes: Vec<_> = state.iter().map(|(_, node)| node).collect();
            let chain = room.graph.auth_chain(&nodes).into_iter().chain(nodes.iter().copied());
            chain.map(|node| ruma_pdu::id(room.graph.id(node))).collect()
        })
        .collect();
    let rules = ruma_pdu::rules(VERSION);
    let v2 = rules.state_res.v2_rules().unwrap();
    let (theirs, ruma_result) = best(if members > 10_000 { 1 } else { 3 }, || {
        let fetch = ruma_pdu::fetch(&events);
        ruma_state_res::resolve(&rules.authorization, v2, ruma_states.iter(), chains.clone(), fetch, |_| None).unwrap()
    });
    let ours_ids: HashSet<&str> = result.event_ids(&room.graph).map(EventId::as_str).collect();
    let their_ids: HashSet<&str> =
        ruma_result.values().map(|id| std::borrow::Borrow::<ruma_common::EventId>::borrow(id).as_str()).collect();
    assert_eq!(ours_ids, their_ids, "the results differ");
    let times = theirs.as_secs_f64() / ours.as_secs_f64();
    println!("{members:>9} {branches:>8} {ours:>12.2?} {ours_sharing:>12.2?} {theirs:>12.2?} {times:>7.1}x");
}

fn reachability(members: usize, branches: usize, changes: usize) {
    let mut bench = Bench::new(members);
    let states = bench.states(branches, changes);
    let graph = &bench.room.graph;
    let conflicted: Vec<Node> = {
        let changed = states.iter().flat_map(|state| states[0].changed_keys(state));
        let keys: HashSet<Key> = changed.collect();
        let nodes: HashSet<Node> =
            keys.iter().flat_map(|key| states.iter().filter_map(|state| state.get(*key))).collect();
        nodes.into_iter().collect()
    };
    let (linear_difference, expected) = best(10, || linear::auth_difference(graph, &states));
    let (difference, found) = best(10, || graph.auth_difference(&states));
    assert_eq!(found, expected);
    let (linear_subgraph, expected) = best(10, || linear::conflicted_subgraph(graph, &conflicted));
    let (subgraph, found) = best(10, || graph.conflicted_subgraph(&conflicted));
    assert_eq!(found, expected);
    let times = |linear: Duration, chains: Duration| linear.as_secs_f64() / chains.as_secs_f64();
    print!("{members:>9} {branches:>8} {changes:>8} {linear_difference:>11.2?} {difference:>10.2?}");
    print!("{:>8.1}x {linear_subgraph:>11.2?}", times(linear_difference, difference));
    println!(" {subgraph:>10.2?} {:>7.1}x", times(linear_subgraph, subgraph));
}

/// The mean of the best batch: a batch is short enough to run without interruption even on a busy machine.
fn each(name: &str, count: u32, mut work: impl FnMut()) {
    const BATCH: u32 = 500;
    let batch = |_| {
        let start = Instant::now();
        (0..BATCH).for_each(|_| work());
        start.elapsed()
    };
    let best = (0..count / BATCH).map(batch).min().unwrap_or_default();
    println!("  {name:<28} {:>8} ns", best.as_nanos() / u128::from(BATCH));
}

fn best<T>(runs: usize, mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = work();
        (start.elapsed(), result)
    };
    let first = timed();
    (1..runs).map(|_| timed()).fold(first, |best, next| if next.0 < best.0 { next } else { best })
}
