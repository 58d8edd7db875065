//! Auth difference and conflicted state subgraph (room version 12, "Definitions").
//!
//! As an event has a greater number than its auth events, one pass over the numbers answers reachability for all events.

use super::{
    graph::{AuthGraph, Node},
    state::State,
};

/// A set of events.
#[derive(Debug, Clone)]
pub(super) struct NodeSet(Vec<bool>);

impl NodeSet {
    pub(super) fn new(graph: &AuthGraph, nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut set = Self(vec![false; graph.len()]);
        for node in nodes {
            set.insert(node);
        }
        set
    }

    pub(super) fn contains(&self, node: Node) -> bool {
        self.0.get(node.index()).is_some_and(|contained| *contained)
    }

    pub(super) fn insert(&mut self, node: Node) {
        if let Some(contained) = self.0.get_mut(node.index()) {
            *contained = true;
        }
    }
}

impl AuthGraph {
    /// The auth difference: the events in the auth chain of some states and not in that of all.
    pub fn auth_difference(&self, states: &[State]) -> Vec<Node> {
        let mut in_some = vec![false; self.len()];
        let mut in_all = vec![true; self.len()];
        for chunk in states.chunks(u64::BITS as usize) {
            let everyone = u64::MAX >> (u64::BITS as usize - chunk.len());
            let reached = self.reached_by(chunk);
            for ((reached, in_some), in_all) in reached.iter().zip(&mut in_some).zip(&mut in_all) {
                *in_some |= *reached != 0;
                *in_all &= *reached == everyone;
            }
        }
        let nodes = self.nodes().zip(in_some.into_iter().zip(in_all));
        nodes.filter(|(_, (in_some, in_all))| *in_some && !in_all).map(|(node, _)| node).collect()
    }

    /// The conflicted state subgraph: all events on paths along auth events between two of these, those included.
    pub fn conflicted_subgraph(&self, conflicted: &[Node]) -> Vec<Node> {
        let mut below = NodeSet::new(self, conflicted.iter().copied());
        let mut above = below.clone();
        for node in self.nodes().rev() {
            if below.contains(node) {
                self.auth_events(node).iter().for_each(|auth| below.insert(*auth));
            }
        }
        for node in self.nodes() {
            if self.auth_events(node).iter().any(|auth| above.contains(*auth)) {
                above.insert(node);
            }
        }
        self.nodes().filter(|node| below.contains(*node) && above.contains(*node)).collect()
    }

    /// The auth chain of events, without the events that are not in the chain of another, in order of number.
    pub fn auth_chain(&self, events: &[Node]) -> Vec<Node> {
        let mut chain = NodeSet::new(self, events.iter().flat_map(|node| self.auth_events(*node)).copied());
        for node in self.nodes().rev() {
            if chain.contains(node) {
                self.auth_events(node).iter().for_each(|auth| chain.insert(*auth));
            }
        }
        self.nodes().filter(|node| chain.contains(*node)).collect()
    }

    /// For each event, a bit for each state that holds it or has it in its auth chain.
    fn reached_by(&self, states: &[State]) -> Vec<u64> {
        let mut reached = vec![0_u64; self.len()];
        for (bit, state) in states.iter().enumerate() {
            for (_, node) in state.iter() {
                reached[node.index()] |= 1 << bit;
            }
        }
        for node in self.nodes().rev() {
            let by = reached[node.index()];
            if by != 0 {
                for auth in self.auth_events(node) {
                    reached[auth.index()] |= by;
                }
            }
        }
        reached
    }
}
