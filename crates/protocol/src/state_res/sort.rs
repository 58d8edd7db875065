//! Reverse topological power ordering and mainline ordering (room version 12, "Definitions").

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    Loaded,
    difference::NodeSet,
    graph::{AuthGraph, Node},
};
use crate::{
    auth::Membership,
    event::Pdu,
    id::EventId,
    power_levels::{LevelsView, PowerLevel},
    rules::RoomVersionRules,
};

/// Whether an event might take from someone the ability to do something.
pub(super) fn is_power_event(event: &Pdu) -> bool {
    match event.event_type() {
        "m.room.power_levels" | "m.room.join_rules" | "m.room.create" => event.state_key() == Some(""),
        "m.room.member" => {
            matches!(Membership::of(event), Some(Membership::Leave | Membership::Ban))
                && event.state_key() != Some(event.sender().as_str())
        }
        _ => false,
    }
}

/// The power events of the full conflicted set and what leads from them to earlier events within it, earliest first.
pub(super) fn reverse_topological_power_order(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    create: Node,
    full_conflicted: &[Node],
    loaded: &Loaded<'_>,
) -> Vec<Node> {
    let in_set = NodeSet::new(graph, full_conflicted.iter().copied());
    let mut chosen = NodeSet::new(graph, []);
    // Numbers descend along auth events, so one pass finds all that is led to.
    for &node in full_conflicted.iter().rev() {
        if chosen.contains(node) || loaded.get(node).is_some_and(|event| is_power_event(&event.pdu)) {
            chosen.insert(node);
            let within = graph.auth_events(node).iter().filter(|auth| in_set.contains(**auth));
            within.for_each(|auth| chosen.insert(*auth));
        }
    }
    let chosen_nodes = full_conflicted.iter().copied().filter(|node| chosen.contains(*node));

    // Kahn's algorithm, from the events without chosen auth events on.
    let mut waits_for: HashMap<Node, usize> = HashMap::new();
    let mut waiters: HashMap<Node, Vec<Node>> = HashMap::new();
    let mut ready = BinaryHeap::new();
    let rank = |node: Node| Reverse(Rank::of(rules, graph, create, node, loaded));
    for node in chosen_nodes {
        let auth_events = distinct(graph.auth_events(node)).filter(|auth| chosen.contains(*auth));
        let mut count = 0;
        for auth in auth_events {
            waiters.entry(auth).or_default().push(node);
            count += 1;
        }
        if count == 0 {
            ready.push(rank(node));
        } else {
            waits_for.insert(node, count);
        }
    }
    let mut order = Vec::new();
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next.node);
        for waiter in waiters.remove(&next.node).unwrap_or_default() {
            let Some(count) = waits_for.get_mut(&waiter) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                ready.push(rank(waiter));
            }
        }
    }
    order
}

fn distinct(nodes: &[Node]) -> impl Iterator<Item = Node> {
    nodes.iter().enumerate().filter(|(at, node)| !nodes[..*at].contains(node)).map(|(_, node)| *node)
}

/// What decides between events that are not ordered by their auth events: the smallest comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    /// Greater power first.
    power: Reverse<PowerLevel>,
    origin_server_ts: u64,
    event_id: &'a EventId,
    node: Node,
}

impl<'a> Rank<'a> {
    fn of(rules: &RoomVersionRules, graph: &'a AuthGraph, create: Node, node: Node, loaded: &Loaded<'_>) -> Self {
        let event = loaded.get(node).map(|event| &event.pdu);
        let power_levels = graph.power_levels_of(node).and_then(|node| loaded.get(node));
        let power = match (event, loaded.get(create)) {
            (Some(event), Some(create)) => {
                let content = power_levels.map(|event| event.pdu.content());
                LevelsView { rules, create: &create.pdu, content }.user(event.sender().as_str())
            }
            _ => PowerLevel::Level(0),
        };
        Self {
            power: Reverse(power),
            origin_server_ts: event.map_or(0, Pdu::origin_server_ts),
            event_id: graph.id(node),
            node,
        }
    }
}

/// Sorts by mainline position, furthest first, then by time and id.
pub(super) fn mainline_order(
    graph: &AuthGraph,
    power_levels: Option<Node>,
    mut nodes: Vec<Node>,
    loaded: &Loaded<'_>,
) -> Vec<Node> {
    // `None` is behind all positions: infinity.
    let mut positions: HashMap<Node, Option<u32>> = HashMap::new();
    let mut next = power_levels;
    let mut position = 0;
    while let Some(node) = next {
        positions.insert(node, Some(position));
        position += 1;
        next = graph.power_levels_of(node);
    }
    nodes.sort_by_cached_key(|&node| {
        let position = mainline_position(graph, node, &mut positions);
        let time = loaded.get(node).map_or(0, |event| event.pdu.origin_server_ts());
        // Infinity first, then the greatest position.
        (position.map(Reverse), time, graph.id(node))
    });
    nodes
}

/// Follows the power levels events until one of the mainline; remembers the answer for all that were passed.
fn mainline_position(graph: &AuthGraph, event: Node, positions: &mut HashMap<Node, Option<u32>>) -> Option<u32> {
    let mut passed = Vec::new();
    let mut next = Some(event);
    let position = loop {
        let Some(node) = next else { break None };
        if let Some(position) = positions.get(&node) {
            break *position;
        }
        passed.push(node);
        next = graph.power_levels_of(node);
    };
    positions.extend(passed.into_iter().map(|node| (node, position)));
    position
}
