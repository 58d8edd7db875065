//! State resolution of room versions 2 to 11, and its revision of room version 12 ("Algorithm").

use std::collections::HashMap;

use super::{
    Loaded, NeedEvents,
    graph::{AuthGraph, Node},
    iterative::{self, Draft},
    sort::{Chosen, mainline_order, reverse_topological_power_order},
    state::{Conflict, Split, State, split},
};
use crate::{event::auth_types::auth_event_keys, rules::RoomVersionRules};

/// What changed in room version 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revision {
    /// Iterative auth checks start from the unconflicted state.
    V2,
    /// They start from nothing, and the conflicted state subgraph is part of the full conflicted set.
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

    // 1. Power events, and those of their auth chains that are conflicted.
    let power_events = reverse_topological_power_order(rules, graph, create, &full_conflicted, loaded);
    // 2. A partially resolved state.
    let mut draft = Draft { base, changes: HashMap::new() };
    iterative::apply(rules, graph, create, &power_events, &mut draft, loaded);
    // 3. The remaining events, ordered by the power levels found.
    let mut picked = Chosen::none_of(&full_conflicted);
    power_events.iter().for_each(|node| picked.insert(*node));
    let remaining = full_conflicted.iter().copied().filter(|node| !picked.contains(*node)).collect();
    let power_levels = graph.key("m.room.power_levels", "").and_then(|key| draft.get(key));
    let remaining = mainline_order(graph, power_levels, remaining, loaded);
    // 4. Applied to that state.
    iterative::apply(rules, graph, create, &remaining, &mut draft, loaded);
    // 5. What was never in conflict stays.
    let changes = draft.changes;
    Ok(unconflicted.merged_over(changes))
}

/// The conflicted state set, the auth difference and, in room version 12, the conflicted state subgraph; in order of
/// number.
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

/// Makes available what of the base state authorizes these events.
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
