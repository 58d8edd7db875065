//! Iterative auth checks ([Definitions](https://spec.matrix.org/v1.19/rooms/v12/#definitions)).

use std::collections::HashMap;

use super::{
    Loaded,
    graph::{AuthGraph, Key, Node},
    state::State,
};
use crate::{auth, event::Pdu, rules::RoomVersionRules};

/// A state under construction: changes over an unchanged base state.
pub(super) struct StateOverlay<'a> {
    pub(super) base: &'a State,
    pub(super) changes: HashMap<Key, Node>,
}

impl StateOverlay<'_> {
    pub(super) fn get(&self, key: Key) -> Option<Node> {
        self.changes.get(&key).copied().or_else(|| self.base.get(key))
    }
}

/// Applies events in order, each if the state so far allows it.
pub(super) fn apply(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    create: Node,
    order: &[Node],
    overlay: &mut StateOverlay<'_>,
    loaded: &Loaded<'_>,
) {
    for &node in order {
        let Some(event) = loaded.get(node) else {
            continue;
        };
        let state = |event_type: &str, state_key: &str| {
            let key = graph.key(event_type, state_key)?;
            lookup(graph, create, node, key, overlay, loaded)
        };
        if auth::check(rules, &event.pdu, &state).is_ok() {
            overlay.changes.insert(graph.key_of(node), node);
        }
    }
}

/// Returns the event of this key in the state so far, or else the one among the auth events, ignoring rejected events.
/// The create event is that of the room if the room version does not have it among auth events.
fn lookup(
    graph: &AuthGraph,
    create: Node,
    event: Node,
    key: Key,
    overlay: &StateOverlay<'_>,
    loaded: &Loaded<'_>,
) -> Option<Pdu> {
    let accepted = |node: Node| loaded.get(node).filter(|event| !event.rejected).map(|event| event.pdu.clone());
    let authorizing = || {
        let auth_events = graph.auth_events(event).iter().copied();
        let of_room = (key == graph.key_of(create)).then_some(create);
        auth_events.filter(|auth| graph.key_of(*auth) == key).chain(of_room).find_map(accepted)
    };
    overlay.get(key).and_then(accepted).or_else(authorizing)
}
