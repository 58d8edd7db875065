//! The auth events of a room as a graph of small numbers.

mod chains;

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use crate::{event::Pdu, id::EventId};

pub(super) use chains::ChainMap;
use chains::Chains;
pub use chains::{ChainLink, ChainPosition};

/// A state event in an [`AuthGraph`]. Its number is greater than those of all events in its auth chain.
///
/// Only meaningful for the graph that returned it; other graphs may panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(NonZeroU32);

/// An event type and state key in an [`AuthGraph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

impl Node {
    fn at(index: usize) -> Self {
        // Numbered from 1, so that `Option<Node>` is no larger.
        Self(NonZeroU32::MIN.saturating_add(number(index)))
    }

    /// Returns how many events of the graph have a smaller number.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Key {
    pub(super) fn number(self) -> u32 {
        self.0
    }

    pub(super) fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// The state events of a room and their auth events: an index of reachability.
///
/// Events can be added in any order. An event becomes part of the graph when its auth chain is complete, so the graph
/// has no cycles whatever other servers send. It needs an event's id, type, state key and auth events, which can come
/// from a database as well as from a [`Pdu`].
#[derive(Debug, Clone, Default)]
pub struct AuthGraph {
    nodes: HashMap<EventId, Node>,
    ids: Vec<EventId>,
    node_keys: Vec<Key>,
    /// Where the auth events of each event start in `edges`; one longer than `ids`, or empty.
    edge_starts: Vec<u32>,
    edges: Vec<Node>,
    /// The latest edge that leads to each event.
    last_edge_to: Vec<Option<Edge>>,
    /// For each edge, the previous edge that leads to the same event.
    edge_before: Vec<Option<Edge>>,
    /// The `m.room.power_levels` event among the auth events.
    power_levels: Vec<Option<Node>>,
    keys: HashMap<Arc<str>, HashMap<Arc<str>, Key>>,
    key_names: Vec<(Arc<str>, Arc<str>)>,
    chains: Chains,
    create: Option<Node>,
    /// Events with unknown auth events.
    waiting: HashMap<EventId, Waiting>,
    /// The events that wait for an event.
    waiters: HashMap<EventId, Vec<EventId>>,
}

/// The number of an edge, from 1 on.
type Edge = NonZeroU32;

/// See [`AuthGraph::children`].
pub(super) struct Children<'a> {
    graph: &'a AuthGraph,
    next: Option<Edge>,
}

impl Iterator for Children<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        let edge = self.next?.get() as usize - 1;
        self.next = self.graph.edge_before[edge];
        let ends_before = |start: &u32| *start as usize <= edge;
        Some(Node::at(self.graph.edge_starts.partition_point(ends_before) - 1))
    }
}

#[derive(Debug, Clone)]
struct Waiting {
    key: Key,
    auth_events: Box<[EventId]>,
    unknown: usize,
}

impl AuthGraph {
    /// Creates an empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a state event. Other events are ignored, since they authorize nothing.
    pub fn add(&mut self, event: &Pdu) {
        if let Some(state_key) = event.state_key() {
            self.add_parts(event.event_id(), event.event_type(), state_key, event.auth_events());
        }
    }

    /// Adds a state event given by its parts.
    pub fn add_parts(&mut self, id: &EventId, event_type: &str, state_key: &str, auth_events: &[EventId]) {
        if self.nodes.contains_key(id) || self.waiting.contains_key(id) {
            return;
        }
        let key = self.intern(event_type, state_key);
        let mut unknown = auth_events.iter().filter(|auth| !self.nodes.contains_key(*auth)).collect::<Vec<_>>();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            self.insert(id.clone(), key, auth_events);
            self.insert_waiters_of(id.clone());
            return;
        }
        for auth in &unknown {
            self.waiters.entry((*auth).clone()).or_default().push(id.clone());
        }
        let waiting = Waiting { key, auth_events: auth_events.into(), unknown: unknown.len() };
        self.waiting.insert(id.clone(), waiting);
    }

    /// Returns the events that must be added to complete the auth chains of events added before.
    pub fn missing(&self) -> Vec<EventId> {
        let mut missing: Vec<_> = self.waiters.keys().filter(|id| !self.waiting.contains_key(*id)).cloned().collect();
        missing.sort_unstable();
        missing
    }

    /// Returns the number of an event; `None` when it is unknown or its auth chain is incomplete.
    pub fn node(&self, id: &EventId) -> Option<Node> {
        self.nodes.get(id).copied()
    }

    /// Returns the id of an event.
    pub fn id(&self, node: Node) -> &EventId {
        &self.ids[node.index()]
    }

    /// Returns the type and state key of an event, as a number.
    pub fn key_of(&self, node: Node) -> Key {
        self.node_keys[node.index()]
    }

    /// Returns the number of a type and state key; `None` when no event has them.
    pub fn key(&self, event_type: &str, state_key: &str) -> Option<Key> {
        self.keys.get(event_type)?.get(state_key).copied()
    }

    /// Returns the type and state key with a number.
    pub fn key_name(&self, key: Key) -> (&str, &str) {
        let (event_type, state_key) = &self.key_names[key.0 as usize];
        (event_type, state_key)
    }

    /// Returns the auth events of an event.
    pub fn auth_events(&self, node: Node) -> &[Node] {
        let at = node.index();
        &self.edges[self.edge_starts[at] as usize..self.edge_starts[at + 1] as usize]
    }

    /// Returns the create event.
    pub fn create(&self) -> Option<Node> {
        self.create
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Iterates over all events in order of number.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = Node> + use<> {
        (0..self.ids.len()).map(Node::at)
    }

    /// Iterates over the events that have `node` among their auth events, latest first.
    pub(super) fn children(&self, node: Node) -> Children<'_> {
        Children { graph: self, next: self.last_edge_to[node.index()] }
    }

    /// Returns the power levels event among the auth events of an event.
    pub(super) fn power_levels_of(&self, node: Node) -> Option<Node> {
        self.power_levels[node.index()]
    }

    fn intern(&mut self, event_type: &str, state_key: &str) -> Key {
        if let Some(key) = self.key(event_type, state_key) {
            return key;
        }
        let key = Key(number(self.key_names.len()));
        let state_key: Arc<str> = state_key.into();
        let event_type: Arc<str> =
            self.keys.get_key_value(event_type).map_or_else(|| event_type.into(), |known| known.0.clone());
        self.key_names.push((event_type.clone(), state_key.clone()));
        self.keys.entry(event_type).or_default().insert(state_key, key);
        key
    }

    fn insert(&mut self, id: EventId, key: Key, auth_events: &[EventId]) {
        let node = Node::at(self.ids.len());
        if self.edge_starts.is_empty() {
            self.edge_starts.push(0);
        }
        self.last_edge_to.push(None);
        for auth in auth_events.iter().filter_map(|auth| self.nodes.get(auth)) {
            let before = self.last_edge_to[auth.index()].replace(Node::at(self.edges.len()).0);
            self.edge_before.push(before);
            self.edges.push(*auth);
        }
        self.edge_starts.push(number(self.edges.len()));
        let is = |key: Key, event_type: &str| {
            let (key_type, state_key) = &self.key_names[key.0 as usize];
            **key_type == *event_type && state_key.is_empty()
        };
        let start = self.edge_starts[node.index()] as usize;
        let power_levels =
            self.edges[start..].iter().find(|auth| is(self.node_keys[auth.index()], "m.room.power_levels")).copied();
        if self.create.is_none() && is(key, "m.room.create") {
            self.create = Some(node);
        }
        self.power_levels.push(power_levels);
        self.node_keys.push(key);
        self.nodes.insert(id.clone(), node);
        self.ids.push(id);
        self.assign_chain(node);
    }

    /// Adds every event that was only waiting for this one, and so on.
    fn insert_waiters_of(&mut self, id: EventId) {
        let mut known = vec![id];
        while let Some(id) = known.pop() {
            for waiter in self.waiters.remove(&id).unwrap_or_default() {
                let Some(waiting) = self.waiting.get_mut(&waiter) else {
                    continue;
                };
                waiting.unknown -= 1;
                if waiting.unknown == 0
                    && let Some(waiting) = self.waiting.remove(&waiter)
                {
                    self.insert(waiter.clone(), waiting.key, &waiting.auth_events);
                    known.push(waiter);
                }
            }
        }
    }
}

/// Converts a length to a number. Four billion events or keys of one room are beyond the memory of any process; beyond
/// them numbers would repeat.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
