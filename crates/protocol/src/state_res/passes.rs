//! Auth difference and conflicted state subgraph by cheap passes over all events of a room in order of number, for
//! conflicts that are a large part of the room.

use super::{
    graph::{AuthGraph, Node},
    state::{Conflict, State, StateSet},
};

/// Returns the events in the auth chains of some of the states, but not of all.
pub(super) fn difference(graph: &AuthGraph, agreed: &State, conflicts: &[Conflict], states: usize) -> Vec<Node> {
    let mut in_some = vec![false; graph.len()];
    let mut in_all = vec![true; graph.len()];
    for (word, everyone) in StateSet::all(states).words().enumerate() {
        let mut reached = vec![0_u64; graph.len()];
        agreed.iter().for_each(|(_, node)| reached[node.index()] = everyone);
        for conflict in conflicts {
            reached[conflict.node.index()] |= conflict.states.words().nth(word).unwrap_or_default();
        }
        for node in graph.nodes().rev() {
            let by = reached[node.index()];
            if by != 0 {
                graph.auth_events(node).iter().for_each(|auth| reached[auth.index()] |= by);
            }
        }
        for ((reached, in_some), in_all) in reached.iter().zip(&mut in_some).zip(&mut in_all) {
            *in_some |= *reached != 0;
            *in_all &= *reached == everyone;
        }
    }
    graph.nodes().filter(|node| in_some[node.index()] && !in_all[node.index()]).collect()
}

/// Returns the conflicted events and those that lie between two of them.
pub(super) fn subgraph(graph: &AuthGraph, conflicted: &[Node]) -> Vec<Node> {
    let mut below = vec![false; graph.len()];
    conflicted.iter().for_each(|node| below[node.index()] = true);
    let mut above = below.clone();
    for node in graph.nodes().rev() {
        if below[node.index()] {
            graph.auth_events(node).iter().for_each(|auth| below[auth.index()] = true);
        }
    }
    for node in graph.nodes() {
        if graph.auth_events(node).iter().any(|auth| above[auth.index()]) {
            above[node.index()] = true;
        }
    }
    graph.nodes().filter(|node| below[node.index()] && above[node.index()]).collect()
}
