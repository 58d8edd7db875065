//! Auth difference and conflicted state subgraph by cheap passes over all events of a room in order of number, for
//! conflicts that are a large part of the room.

use super::{
    graph::{AuthGraph, Node},
    state::{Conflict, State, StateSet},
};

impl AuthGraph {
    pub(super) fn difference_by_passes(&self, agreed: &State, conflicts: &[Conflict], states: usize) -> Vec<Node> {
        let mut in_some = vec![false; self.len()];
        let mut in_all = vec![true; self.len()];
        for (word, everyone) in StateSet::all(states).words().enumerate() {
            let mut reached = vec![0_u64; self.len()];
            agreed.iter().for_each(|(_, node)| reached[node.index()] = everyone);
            for conflict in conflicts {
                reached[conflict.node.index()] |= conflict.states.words().nth(word).unwrap_or_default();
            }
            for node in self.nodes().rev() {
                let by = reached[node.index()];
                if by != 0 {
                    self.auth_events(node).iter().for_each(|auth| reached[auth.index()] |= by);
                }
            }
            for ((reached, in_some), in_all) in reached.iter().zip(&mut in_some).zip(&mut in_all) {
                *in_some |= *reached != 0;
                *in_all &= *reached == everyone;
            }
        }
        self.nodes().filter(|node| in_some[node.index()] && !in_all[node.index()]).collect()
    }

    pub(super) fn subgraph_by_passes(&self, conflicted: &[Node]) -> Vec<Node> {
        let mut below = vec![false; self.len()];
        conflicted.iter().for_each(|node| below[node.index()] = true);
        let mut above = below.clone();
        for node in self.nodes().rev() {
            if below[node.index()] {
                self.auth_events(node).iter().for_each(|auth| below[auth.index()] = true);
            }
        }
        for node in self.nodes() {
            if self.auth_events(node).iter().any(|auth| above[auth.index()]) {
                above[node.index()] = true;
            }
        }
        self.nodes().filter(|node| below[node.index()] && above[node.index()]).collect()
    }
}
