//! A room state over an [`AuthGraph`].

use super::graph::{AuthGraph, Key, Node};
use crate::id::EventId;

/// One event for each type and state key, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Sorted by key.
    entries: Vec<(Key, Node)>,
}

impl State {
    /// The state made of these events; of several with the same type and state key the last counts.
    ///
    /// # Errors
    /// The events that are not in the graph.
    pub fn new<'a>(graph: &AuthGraph, events: impl IntoIterator<Item = &'a EventId>) -> Result<Self, Vec<EventId>> {
        let mut unknown = Vec::new();
        let mut nodes = Vec::new();
        for id in events {
            match graph.node(id) {
                Some(node) => nodes.push(node),
                None => unknown.push(id.clone()),
            }
        }
        if unknown.is_empty() { Ok(Self::from_nodes(graph, nodes)) } else { Err(unknown) }
    }

    /// The state made of these events; of several with the same type and state key the last counts.
    pub fn from_nodes(graph: &AuthGraph, nodes: impl IntoIterator<Item = Node>) -> Self {
        Self::from_entries(nodes.into_iter().map(|node| (graph.key_of(node), node)).collect())
    }

    pub(super) fn from_entries(mut entries: Vec<(Key, Node)>) -> Self {
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = later.1;
            }
            same
        });
        Self { entries }
    }

    /// The event of a type and state key.
    pub fn get(&self, key: Key) -> Option<Node> {
        let at = self.entries.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.entries.get(at).map(|(_, node)| *node)
    }

    /// All entries, in order of key number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Key, Node)> {
        self.entries.iter().copied()
    }

    /// The ids of all events.
    pub fn event_ids<'a>(&'a self, graph: &'a AuthGraph) -> impl Iterator<Item = &'a EventId> {
        self.entries.iter().map(|(_, node)| graph.id(*node))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The result of a resolution: `self` wins over `resolved`.
    pub(super) fn merged_over(self, resolved: impl IntoIterator<Item = (Key, Node)>) -> Self {
        let mut entries: Vec<_> = resolved.into_iter().filter(|(key, _)| self.get(*key).is_none()).collect();
        entries.extend(self.entries);
        Self::from_entries(entries)
    }
}

/// What several states agree on, and the rest.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) unconflicted: State,
    /// Every value of every other key, without repetition, in order of key.
    pub(super) conflicted: Vec<(Key, Node)>,
}

/// Walks all states at once, in order of key.
pub(super) fn split(states: &[State]) -> Split {
    let mut result = Split::default();
    let mut rest: Vec<&[(Key, Node)]> = states.iter().map(|state| state.entries.as_slice()).collect();
    let mut values: Vec<Node> = Vec::with_capacity(states.len());
    while let Some(key) = rest.iter().filter_map(|entries| entries.first().map(|(key, _)| *key)).min() {
        values.clear();
        for entries in &mut rest {
            if let [(first, node), tail @ ..] = entries
                && *first == key
            {
                values.push(*node);
                *entries = tail;
            }
        }
        let everywhere = values.len() == states.len();
        values.sort_unstable();
        values.dedup();
        match values.as_slice() {
            [only] if everywhere => result.unconflicted.entries.push((key, *only)),
            several => result.conflicted.extend(several.iter().map(|node| (key, *node))),
        }
    }
    result
}
