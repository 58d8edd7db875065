//! State resolution: computing one room state from several (room versions
//! [1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution),
//! [2 to 11](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution) and
//! [12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution)).
//!
//! The algorithms read no storage. The caller keeps an [`AuthGraph`] of the room, in which events and state keys are
//! small numbers, makes a [`State`] for each branch, and calls [`resolve`], which returns the resolved state or the
//! events that the caller must load first. States derived from one another share structure, and shared parts are
//! skipped; auth differences are computed from chains of events in the graph; only conflicted events and the events
//! that authorize them are loaded. So the cost depends on the conflict and not on the size of the room.
//!
//! Where the specification differs from the servers in use, this follows the servers, since rooms would split
//! otherwise:
//! - a state event is part of its own state's auth chain, so an unconflicted event is never in the auth difference;
//! - a power event is followed to earlier events only through events of the full conflicted set;
//! - `m.room.create` is a power event;
//! - events that were rejected because of the state before them are authorized again like others
//!   ([Rejected events](https://spec.matrix.org/v1.19/rooms/v2/#rejected-events); Synapse leaves them out and documents
//!   the deviation), but do not authorize other events: not as auth events, as specified, and not as part of a state
//!   either.

mod difference;
mod graph;
mod iterative;
mod numbers;
mod passes;
mod sort;
mod state;
mod v1;
mod v2;

use std::collections::HashMap;

use crate::{
    auth::AuthEvent,
    id::EventId,
    rules::{RoomVersionRules, StateResolution},
};

pub use self::{
    graph::{AuthGraph, ChainLink, ChainPosition, Key, Node},
    state::State,
};

/// Returns an event by id.
pub type EventLookup<'a> = dyn Fn(&EventId) -> Option<AuthEvent> + 'a;

/// The result of [`resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The lookup must be able to return these events; then call again.
    Need(Vec<EventId>),
    /// The resolved state.
    Resolved(State),
}

/// Why states cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The graph has no create event.
    #[error("the room has no create event")]
    NoCreateEvent,
}

/// Resolves states of one room. `events` returns events by id. It is called for conflicted events, their auth events,
/// and the state that authorizes them; missing events are reported at most twice.
///
/// # Errors
/// When the graph has no create event.
pub fn resolve(
    rules: &RoomVersionRules,
    graph: &AuthGraph,
    states: &[State],
    events: &EventLookup<'_>,
) -> Result<Resolution, ResolveError> {
    let create = graph.create().ok_or(ResolveError::NoCreateEvent)?;
    let mut loaded = Loaded { graph, events, found: HashMap::new(), missing: Vec::new() };
    let resolved = match rules.state_resolution {
        StateResolution::V1 => v1::resolve(rules, graph, states, create, &mut loaded),
        StateResolution::V2 => v2::resolve(rules, graph, states, create, &mut loaded, v2::Revision::V2),
        StateResolution::V2_1 => v2::resolve(rules, graph, states, create, &mut loaded, v2::Revision::V2_1),
    };
    Ok(match resolved {
        Ok(state) => Resolution::Resolved(state),
        Err(NeedEvents) => Resolution::Need(loaded.take_missing()),
    })
}

/// The algorithm cannot continue; [`Loaded`] has the ids of the missing events.
struct NeedEvents;

/// The loaded events, by number.
struct Loaded<'a> {
    graph: &'a AuthGraph,
    events: &'a EventLookup<'a>,
    found: HashMap<Node, AuthEvent>,
    missing: Vec<EventId>,
}

impl Loaded<'_> {
    /// Loads events.
    fn load(&mut self, nodes: impl IntoIterator<Item = Node>) {
        for node in nodes {
            if self.found.contains_key(&node) {
                continue;
            }
            let id = self.graph.id(node);
            match (self.events)(id) {
                Some(event) => {
                    self.found.insert(node, event);
                }
                None => self.missing.push(id.clone()),
            }
        }
    }

    fn complete(&self) -> Result<(), NeedEvents> {
        if self.missing.is_empty() { Ok(()) } else { Err(NeedEvents) }
    }

    fn get(&self, node: Node) -> Option<&AuthEvent> {
        self.found.get(&node)
    }

    fn take_missing(&mut self) -> Vec<EventId> {
        let mut missing = std::mem::take(&mut self.missing);
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}
