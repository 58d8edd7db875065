//! [State resolution of room version 1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution).

use std::{cmp::Reverse, collections::HashMap};

use sha1::{Digest, Sha1};

use super::{
    Loaded, NeedEvents,
    graph::{AuthGraph, Key, Node},
    iterative::StateOverlay,
    state::{Split, State, split},
};
use crate::{
    auth,
    event::{Pdu, auth_types::auth_event_keys},
    rules::RoomVersionRules,
};

pub(super) fn resolve(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    states: &[State],
    create: Node,
    loaded: &mut Loaded<'_>,
) -> Result<State, NeedEvents> {
    let Split { agreed, conflicts } = split(states);
    let values: Vec<(Key, Node)> = conflicts.into_iter().map(|conflict| (conflict.key, conflict.node)).collect();
    // Only different events conflict; a key that some states lack does not.
    let (single, conflicts): (Vec<_>, Vec<_>) =
        values.chunk_by(|a, b| a.0 == b.0).partition(|values| values.len() == 1);
    let agreed = agreed.merged_over(single.into_iter().flatten().copied());
    load(rules, graph, &agreed, &conflicts, create, loaded)?;

    let mut room = Room { rules, graph, loaded, overlay: StateOverlay { base: &agreed, changes: HashMap::new() } };
    let kind = |values: &&[(Key, Node)]| values.first().map_or(Kind::Other, |(key, _)| Kind::of(graph, *key));
    for current in [Kind::PowerLevels, Kind::JoinRules, Kind::Member] {
        let resolved: Vec<_> = conflicts
            .iter()
            .filter(|values| kind(values) == current)
            .filter_map(|values| room.resolve_auth_events(values))
            .collect();
        room.overlay.changes.extend(resolved);
    }
    let others = conflicts.iter().filter(|values| kind(values) == Kind::Other);
    let resolved: Vec<_> = others.filter_map(|values| room.resolve_other_events(values)).collect();
    room.overlay.changes.extend(resolved);

    let changes = std::mem::take(&mut room.overlay.changes);
    Ok(agreed.merged_over(changes))
}

fn load(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    agreed: &State,
    conflicts: &[&[(Key, Node)]],
    create: Node,
    loaded: &mut Loaded<'_>,
) -> Result<(), NeedEvents> {
    loaded.load([create]);
    loaded.load(conflicts.iter().copied().flatten().map(|(_, node)| *node));
    loaded.complete()?;
    let mut wanted = Vec::new();
    for (_, node) in conflicts.iter().copied().flatten() {
        let Some(event) = loaded.get(*node) else {
            continue;
        };
        let pdu = &event.pdu;
        let keys = auth_event_keys(rules, pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
        wanted.extend(keys.iter().filter_map(|(event_type, key)| agreed.get(graph.key(event_type, key)?)));
    }
    loaded.load(wanted);
    loaded.complete()
}

/// The passes, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PowerLevels,
    JoinRules,
    Member,
    Other,
}

impl Kind {
    fn of(graph: &AuthGraph, key: Key) -> Self {
        match graph.key_name(key) {
            ("m.room.power_levels", "") => Self::PowerLevels,
            ("m.room.join_rules", _) => Self::JoinRules,
            ("m.room.member", _) => Self::Member,
            _ => Self::Other,
        }
    }
}

struct Room<'a> {
    rules: &'a RoomVersionRules,
    graph: &'a AuthGraph,
    loaded: &'a Loaded<'a>,
    overlay: StateOverlay<'a>,
}

impl Room<'_> {
    /// Resolves a conflict of auth events: takes the deepest event that, in order of depth, is allowed by the state
    /// with its predecessor; stops at the first that is not. The first is not checked.
    fn resolve_auth_events(&self, values: &[(Key, Node)]) -> Option<(Key, Node)> {
        let mut order = self.ordered(values);
        order.reverse();
        let mut order = order.into_iter();
        let mut winner = order.next()?;
        for event in order {
            if !self.allows(event, Some(winner)) {
                break;
            }
            winner = event;
        }
        Some(winner)
    }

    /// Returns the deepest event that is allowed, or the shallowest when none is.
    fn resolve_other_events(&self, values: &[(Key, Node)]) -> Option<(Key, Node)> {
        let order = self.ordered(values);
        let allowed = order.iter().find(|event| self.allows(**event, None)).copied();
        allowed.or_else(|| order.last().copied())
    }

    /// By descending depth, then ascending SHA-1 of the event id.
    fn ordered(&self, values: &[(Key, Node)]) -> Vec<(Key, Node)> {
        let mut order = values.to_vec();
        order.sort_by_cached_key(|(_, node)| {
            let depth = self.loaded.get(*node).map_or(0, |event| event.pdu.depth());
            (Reverse(depth), Sha1::digest(self.graph.id(*node).as_str()))
        });
        order
    }

    /// Whether the state so far allows an event, with `over` in its place.
    fn allows(&self, (_, event): (Key, Node), over: Option<(Key, Node)>) -> bool {
        let Some(event) = self.loaded.get(event) else {
            return false;
        };
        let state = |event_type: &str, state_key: &str| -> Option<Pdu> {
            let key = self.graph.key(event_type, state_key)?;
            let over = over.filter(|(own, _)| *own == key).map(|(_, node)| node);
            let node = over.or_else(|| self.overlay.get(key))?;
            self.loaded.get(node).map(|event| event.pdu.clone())
        };
        auth::check(self.rules, &event.pdu, &state).is_ok()
    }
}
