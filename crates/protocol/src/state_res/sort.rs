//! Reverse topological power ordering and mainline ordering
//! ([Definitions](https://spec.matrix.org/v1.19/rooms/v12/#definitions)).

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    Loaded,
    graph::{AuthGraph, Node},
    numbers::NumberMap,
};
use crate::{
    event::Pdu,
    id::EventId,
    membership::Membership,
    power_levels::{LevelsView, PowerLevel},
    rules::RoomVersionRules,
};

/// A subset of the full conflicted set.
pub(super) struct Chosen<'a> {
    /// Sorted.
    of: &'a [Node],
    chosen: Vec<bool>,
}

impl<'a> Chosen<'a> {
    pub(super) fn none_of(of: &'a [Node]) -> Self {
        Self { of, chosen: vec![false; of.len()] }
    }

    pub(super) fn contains(&self, node: Node) -> bool {
        self.of.binary_search(&node).is_ok_and(|at| self.chosen[at])
    }

    /// Adds an event if it belongs to the full conflicted set.
    pub(super) fn insert(&mut self, node: Node) {
        if let Ok(at) = self.of.binary_search(&node) {
            self.chosen[at] = true;
        }
    }
}

/// Whether an event may take away a user's ability to do something.
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

/// Returns the power events of the full conflicted set and the events that lead from them to earlier events within it,
/// earliest first.
pub(super) fn reverse_topological_power_order(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    create: Node,
    full_conflicted: &[Node],
    loaded: &Loaded<'_>,
) -> Vec<Node> {
    let mut chosen = Chosen::none_of(full_conflicted);
    // Numbers descend along auth events, so one pass finds everything that is reached.
    for &node in full_conflicted.iter().rev() {
        if chosen.contains(node) || loaded.get(node).is_some_and(|event| is_power_event(&event.pdu)) {
            chosen.insert(node);
            graph.auth_events(node).iter().for_each(|auth| chosen.insert(*auth));
        }
    }
    let chosen_nodes = full_conflicted.iter().copied().filter(|node| chosen.contains(*node));

    // Kahn's algorithm, beginning with the events without chosen auth events.
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

/// The order of events that are not ordered by their auth events: the smallest comes first.
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
    let mut mainline = Mainline { graph, next: power_levels, length: 0, positions: NumberMap::default() };
    nodes.sort_by_cached_key(|&node| {
        let position = mainline.position(node);
        let time = loaded.get(node).map_or(0, |event| event.pdu.origin_server_ts());
        // Infinity first, then the greatest position.
        (position.map(Reverse), time, graph.id(node))
    });
    nodes
}

/// The mainline of power levels events, as far as it was needed so far.
struct Mainline<'a> {
    graph: &'a AuthGraph,
    next: Option<Node>,
    length: u32,
    /// Positions of events on the mainline and others. `None` is infinity, behind all positions.
    positions: NumberMap<Node, Option<u32>>,
}

impl Mainline<'_> {
    /// Follows power levels events to the first one on the mainline and remembers the result for all events on the way.
    fn position(&mut self, event: Node) -> Option<u32> {
        let mut passed = Vec::new();
        let mut next = Some(event);
        let position = loop {
            let Some(node) = next else { break None };
            self.extend_to(node);
            if let Some(position) = self.positions.get(&node) {
                break *position;
            }
            passed.push(node);
            next = self.graph.power_levels_of(node);
        };
        self.positions.extend(passed.into_iter().map(|node| (node, position)));
        position
    }

    /// Extends the mainline to an event, if that is on it: its events have descending numbers.
    fn extend_to(&mut self, event: Node) {
        while let Some(node) = self.next.filter(|node| *node >= event) {
            self.positions.insert(node, Some(self.length));
            self.length += 1;
            self.next = self.graph.power_levels_of(node);
        }
    }
}
