//! An event that is about to be added to a room's graph.

use std::collections::HashMap;

use plexus_protocol::auth::AuthEvent;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::EventNid;
use plexus_store::repo::events::{GraphNode, Verdict};

use crate::model::timeline_event::Transaction;
use crate::write::pending::Forwarding;
use crate::write::transactions::TransactionKey;

/// An event that is about to be added to a room's graph.
pub(crate) struct Candidate<'a> {
    pub(crate) pdu: &'a Pdu,
    /// Its row, if it is stored as an outlier.
    pub(crate) stored: Option<&'a GraphNode>,
    /// The verdict by its auth events.
    pub(crate) by_auth_events: Verdict,
    /// Whether a policy hook refuses it.
    pub(crate) is_refused: bool,
    /// Its auth events, among others.
    pub(crate) auth_events: &'a HashMap<EventId, AuthEvent>,
    /// Events of the graph that are not in the database yet; the states before and after them are.
    pub(crate) unwritten: &'a HashMap<EventId, GraphNode>,
    /// The state before it, if its prev events are missing.
    pub(crate) given: Option<&'a Vec<EventNid>>,
    /// The gap that its missing prev events belong to.
    pub(crate) missing: Option<GapRef>,
    /// Whether this server joins the room by it: earlier knowledge of the room is replaced.
    pub(crate) entering: bool,
    /// Set if part of the state before it is missing.
    pub(crate) partial: Option<&'a PartialJoinState>,
    pub(crate) forwarding: Forwarding,
    /// The client's transaction that sent it.
    pub(crate) transaction: Option<&'a (TransactionKey, Transaction)>,
}

/// A gap of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapRef {
    /// The gap with this number; [`START`](plexus_store::repo::timeline_gaps::START) stands for the time before this
    /// server joined.
    Known(EventNid),
    /// A gap that is opened now.
    New,
}

/// The result of a join that omitted members (`PUT /send_join` with `omit_members`).
pub struct PartialJoinState {
    /// The server that accepted the join.
    pub resident: ServerName,
    /// The servers in the room, according to that server.
    pub servers: Vec<ServerName>,
    /// Whether all of the state that it sent is stored already.
    pub is_stored: bool,
}
