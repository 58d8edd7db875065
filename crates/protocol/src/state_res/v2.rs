//! State resolution of [room versions 2 to 11](https://spec.matrix.org/v1.19/rooms/v2/#algorithm), and its revision of
//! [room version 12](https://spec.matrix.org/v1.19/rooms/v12/#algorithm).

use std::collections::HashMap;

use super::{
    Loaded, NeedEvents,
    graph::{AuthGraph, Node},
    iterative::{self, StateOverlay},
    sort::{Chosen, mainline_order, reverse_topological_power_order},
    state::{Conflict, Split, State, split},
};
use crate::{event::auth_types::auth_event_keys, rules::RoomVersionRules};

/// The changes of room version 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revision {
    /// Iterative auth checks start from the unconflicted state.
    V2,
    /// Iterative auth checks start from the empty state, and the conflicted state subgraph is part of the full
    /// conflicted set.
    V2_1,
}

pub(super) fn resolve(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    states: &[State],
    create: Node,
    loaded: &mut Loaded<'_>,
    revision: Revision,
) -> Result<State, NeedEvents> {
    let Split { agreed: unconflicted, conflicts } = split(states);
    if conflicts.is_empty() {
        return Ok(unconflicted);
    }
    let full_conflicted = full_conflicted_set(graph, &unconflicted, &conflicts, states.len(), revision);

    loaded.load([create]);
    for &node in &full_conflicted {
        loaded.load([node]);
        loaded.load(graph.auth_events(node).iter().copied());
    }
    loaded.complete()?;
    let empty = State::default();
    let base = match revision {
        Revision::V2 => &unconflicted,
        Revision::V2_1 => &empty,
    };
    load_authorizing_state(rules, graph, base, &full_conflicted, loaded)?;

    // 1. Power events, and the conflicted events of their auth chains.
    let power_events = reverse_topological_power_order(rules, graph, create, &full_conflicted, loaded);
    // 2. The partially resolved state.
    let mut state = StateOverlay { base, changes: HashMap::new() };
    iterative::apply(rules, graph, create, &power_events, &mut state, loaded);
    // 3. The remaining events, in mainline order of the resolved power levels.
    let mut picked = Chosen::none_of(&full_conflicted);
    power_events.iter().for_each(|node| picked.insert(*node));
    let remaining = full_conflicted.iter().copied().filter(|node| !picked.contains(*node)).collect();
    let power_levels = graph.key("m.room.power_levels", "").and_then(|key| state.get(key));
    let remaining = mainline_order(graph, power_levels, remaining, loaded);
    // 4. The resolved state.
    iterative::apply(rules, graph, create, &remaining, &mut state, loaded);
    // 5. The unconflicted state wins.
    let changes = state.changes;
    Ok(unconflicted.merged_over(changes))
}

/// Returns the full conflicted set: conflicted state set, auth difference and, in room version 12, the conflicted state
/// subgraph; in order of number.
fn full_conflicted_set(
    graph: &AuthGraph,
    unconflicted: &State,
    conflicts: &[Conflict],
    states: usize,
    revision: Revision,
) -> Vec<Node> {
    let conflicted: Vec<Node> = conflicts.iter().map(|conflict| conflict.node).collect();
    let mut set = graph.difference(unconflicted, conflicts, states);
    if revision == Revision::V2_1 {
        set.extend(graph.conflicted_subgraph(&conflicted));
    }
    set.extend(conflicted);
    set.sort_unstable();
    set.dedup();
    set
}

/// Loads the events of the base state that can authorize `events`.
fn load_authorizing_state(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    base: &State,
    events: &[Node],
    loaded: &mut Loaded<'_>,
) -> Result<(), NeedEvents> {
    let mut wanted = Vec::new();
    for event in events.iter().filter_map(|node| loaded.get(*node)) {
        let pdu = &event.pdu;
        let keys = auth_event_keys(rules, pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
        let nodes = keys.iter().filter_map(|(event_type, key)| base.get(graph.key(event_type, key)?));
        wanted.extend(nodes);
    }
    loaded.load(wanted);
    loaded.complete()
}
