//! Auth difference, conflicted state subgraph and auth chain by passes over all events of a room, in order of number:
//! the reference for the chains of the graph.

use plexus_protocol::state_res::{AuthGraph, Node, State};

/// The events in the auth chain of some states but not of all; a state's events are part of its chain.
pub(crate) fn auth_difference(graph: &AuthGraph, states: &[State]) -> Vec<Node> {
    let mut in_some = vec![false; graph.len()];
    let mut in_all = vec![true; graph.len()];
    for chunk in states.chunks(u64::BITS as usize) {
        let everyone = u64::MAX >> (u64::BITS as usize - chunk.len());
        let reached = reached_by(graph, chunk);
        for ((reached, in_some), in_all) in reached.iter().zip(&mut in_some).zip(&mut in_all) {
            *in_some |= *reached != 0;
            *in_all &= *reached == everyone;
        }
    }
    graph.nodes().filter(|node| in_some[node.index()] && !in_all[node.index()]).collect()
}

/// For each event, a bit for each state that holds it or has it in its auth chain.
fn reached_by(graph: &AuthGraph, states: &[State]) -> Vec<u64> {
    let mut reached = vec![0_u64; graph.len()];
    for (bit, state) in states.iter().enumerate() {
        for (_, node) in state.iter() {
            reached[node.index()] |= 1 << bit;
        }
    }
    for node in graph.nodes().rev() {
        let by = reached[node.index()];
        if by != 0 {
            for auth in graph.auth_events(node) {
                reached[auth.index()] |= by;
            }
        }
    }
    reached
}

/// All events on paths between two of these, including these.
pub(crate) fn conflicted_subgraph(graph: &AuthGraph, conflicted: &[Node]) -> Vec<Node> {
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

/// The events that are in the auth chain of one of these.
pub(crate) fn auth_chain(graph: &AuthGraph, events: &[Node]) -> Vec<Node> {
    let mut chain = vec![false; graph.len()];
    events.iter().flat_map(|node| graph.auth_events(*node)).for_each(|auth| chain[auth.index()] = true);
    for node in graph.nodes().rev() {
        if chain[node.index()] {
            graph.auth_events(node).iter().for_each(|auth| chain[auth.index()] = true);
        }
    }
    graph.nodes().filter(|node| chain[node.index()]).collect()
}
