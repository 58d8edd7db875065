//! State resolution: one room state from several (room version 1; room version 2 for 2 to 11; room version 12).
//!
//! The algorithms read no storage. The caller keeps an [`AuthGraph`] of the room, in which events and state keys are
//! small numbers, makes a [`State`] of each branch, and calls [`resolve`], which answers the resolved state or the
//! events it has yet to be given. States that were made from one another share structure, and what they share is passed
//! over; auth differences come from chains of events that the graph keeps; only conflicted events and what authorizes
//! them are looked up. So the work follows the conflict and not the size of the room.
//!
//! Where the specification's prose and the servers in use differ, the servers are followed, as rooms would split
//! otherwise:
//! - a state event counts as part of its own state's auth chain, so an unconflicted event is never in the auth
//!   difference;
//! - a power event is followed to earlier events only along events of the full conflicted set;
//! - `m.room.create` counts as a power event;
//! - events that were rejected for the state they were sent at are authorized again like others (room version 2,
//!   "Rejected events"; Synapse leaves them out, and says that this is not what is specified), but do not authorize:
//!   not as auth events, as specified, and not as part of a state either.

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

/// Looks up an event by id.
pub type EventLookup<'a> = dyn Fn(&EventId) -> Option<AuthEvent> + 'a;

/// The answer of [`resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// These events have to be available to the lookup; then call again.
    Need(Vec<EventId>),
    /// The state.
    Resolved(State),
}

/// Why states cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The graph has no create event.
    #[error("the room has no create event")]
    NoCreateEvent,
}

/// Resolves states of one room. `events` finds events by id; it is asked for conflicted events, their auth events, and
/// the state that authorizes them, at most twice in vain.
///
/// # Errors
/// When the graph is not that of a room.
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

/// The algorithm cannot go on; [`Loaded`] knows what it lacks.
struct NeedEvents;

/// The events at hand, by number.
struct Loaded<'a> {
    graph: &'a AuthGraph,
    events: &'a EventLookup<'a>,
    found: HashMap<Node, AuthEvent>,
    missing: Vec<EventId>,
}

impl Loaded<'_> {
    /// Makes events available.
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
