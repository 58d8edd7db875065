//! Events that other servers made (server-server API, "Checks performed on receipt of a PDU"), one step a file:
//! `verify` (signatures and hashes), `fetch_missing` and `walk_back` (what comes before), `auth_events`,
//! `state_before`, `place` (the authorization rules, and the event's place in the room).

mod auth_events;
mod backfill;
mod deadline;
mod fetch_missing;
mod invites;
mod near_time;
mod ready;
mod receive_state;
mod spool;
mod state_after;
mod state_before;
mod verify;
mod walk_back;

use std::collections::HashSet;
use std::sync::Arc;

use deadline::StateFetchLimits;
use plexus_protocol::event::sign::SignatureError;
use plexus_protocol::event::{Pdu, PduError};
use plexus_protocol::id::{EventId, ServerName};
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::limits::LimitError;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::read::stripped::TooMuchStrippedState;
use plexus_rooms::write::graph::{Accepted, AddError, Arrival, GivenStates, add_all};
use plexus_rooms::write::writer::RoomWriter;
use plexus_rooms::write::{outliers, policy};
use plexus_store::DbError;
use plexus_store::repo::events::Verdict;
use tokio::sync::{Notify, Semaphore};

use crate::peers::Peers;

pub(crate) use deadline::Deadline;
pub(crate) use invites::{is_end_of_invite, may_end};
pub(crate) use receive_state::{ReceiveStateError, ReceivedState};

/// How many answers that may be as large as a room are read at a time.
const MAX_LARGE_ANSWERS: usize = 8;

/// The outcomes for events, in the order they were tried.
pub(crate) type Outcomes = Vec<(EventId, Result<Accepted, ReceiveError>)>;

/// Receives the events that other servers send.
#[derive(Clone)]
pub struct PduReceiver {
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) writer: Arc<RoomWriter>,
    pub(crate) peers: Arc<dyn Peers>,
    /// Notified when this server has joined a room with part of its state.
    pub(crate) joined_partially: Arc<Notify>,
    state_limits: Arc<StateFetchLimits>,
    /// Held while an answer is read that may be as large as a room.
    large_answers: Arc<Semaphore>,
}

/// Why an event was not taken in. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Not an event of its room's version.
    #[error("malformed event: {0}")]
    Malformed(#[from] PduError),
    /// Not signed by who must have signed it.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// An invite by a user of a server that is not in the room.
    #[error("your server is not in the room")]
    InviterNotInRoom,
    /// The room has another version.
    #[error("the room has another version")]
    OtherVersion,
    /// Not an invite of one of our users.
    #[error("not an invite of a user of this server")]
    NotAnInvite,
    /// This server takes no more invites, for now or at all.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// It brings more stripped state than is taken.
    #[error(transparent)]
    StrippedState(#[from] TooMuchStrippedState),
    /// Of another room.
    #[error("the event belongs to another room")]
    OtherRoom,
    /// This server has nobody in the room.
    #[error("this server is not in the room")]
    NotInRoom,
    /// The room's `m.room.server_acl` keeps the sending server out.
    #[error("the room's access control list does not let your server in")]
    DeniedByAcl,
    /// Nobody could give events that it rests on.
    #[error("events that it refers to could not be found")]
    MissingEvents,
    /// A bug ended the check of its signatures.
    #[error("the signatures could not be checked")]
    NotVerified,
    /// Other writers were faster, again and again.
    #[error("the room changed too often; try again")]
    Contended,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ReceiveError {
    /// Whether the same event may be taken in later: it waits for something, or the database does.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::MissingEvents | Self::Contended | Self::Db(_))
    }

    /// Whether the event is at fault when the database fails, and not the database.
    pub(crate) fn is_of_one(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_of_one())
    }
}

impl From<AddError> for ReceiveError {
    fn from(error: AddError) -> Self {
        match error {
            AddError::MissingEvents => Self::MissingEvents,
            AddError::Contended => Self::Contended,
            AddError::Db(error) => Self::Db(error),
        }
    }
}

impl PduReceiver {
    /// A receiver into these rooms.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>, peers: Arc<dyn Peers>) -> Self {
        Self {
            rooms: Arc::clone(writer.rooms()),
            writer,
            peers,
            joined_partially: Arc::default(),
            state_limits: Arc::default(),
            large_answers: Arc::new(Semaphore::new(MAX_LARGE_ANSWERS)),
        }
    }

    /// Takes in one event that `origin` hands to this server to be passed on (`send_join`, `send_leave`, `send_knock`),
    /// with what it needs from there. Its signatures and hash have been checked.
    ///
    /// # Errors
    /// When what it rests on cannot be found, or the database fails.
    pub async fn accept(&self, origin: &ServerName, room: &Arc<Room>, pdu: Pdu) -> Result<Accepted, ReceiveError> {
        let id = pdu.event_id().clone();
        let is_own = pdu.sender().server_name() == self.rooms.server_name().as_str();
        // Our own join by way of a server: that server passes it on.
        let arrival = if is_own { Arrival::Sent } else { Arrival::Handed { event: &id, by: origin } };
        let outcomes =
            self.process_arrival(origin, room, vec![pdu], arrival, &Deadline::of_request(&self.writer.clock)).await?;
        match outcomes.into_iter().rev().find(|(event_id, _)| *event_id == id) {
            Some((_, outcome)) => outcome,
            // It came by another way meanwhile.
            None => self.placed_before(room, &id).await?.ok_or(ReceiveError::MissingEvents),
        }
    }

    /// Adds events to the room's graph, prev events first.
    async fn add_all(
        &self,
        room: &Arc<Room>,
        pdus: &[Pdu],
        given: &GivenStates,
        arrival: Arrival<'_>,
    ) -> Result<Outcomes, ReceiveError> {
        let outcomes = add_all(&self.writer, room, pdus, given, arrival).await?;
        Ok(outcomes.into_iter().map(|(id, outcome)| (id, outcome.map_err(ReceiveError::from))).collect())
    }

    /// What became of an event that has its place already.
    async fn placed_before(&self, room: &Room, id: &EventId) -> Result<Option<Accepted>, DbError> {
        let known = event_lookup::known(&self.writer.db, std::slice::from_ref(id)).await?;
        let placed = known.get(id).filter(|known| known.snapshot_nid.is_some() && known.room_nid == room.nid);
        Ok(placed.map(|known| match known.verdict {
            Verdict::Accepted => Accepted::Known,
            Verdict::SoftFailed => Accepted::SoftFailed,
            Verdict::Rejected => Accepted::Rejected,
        }))
    }

    /// Takes in events of one room, and what comes before them. Answers what became of each that was tried.
    pub(crate) async fn process(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdus: Vec<Pdu>,
        deadline: &Deadline,
    ) -> Result<Outcomes, ReceiveError> {
        self.process_arrival(origin, room, pdus, Arrival::Sent, deadline).await
    }

    async fn process_arrival(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdus: Vec<Pdu>,
        arrival: Arrival<'_>,
        deadline: &Deadline,
    ) -> Result<Outcomes, ReceiveError> {
        let new = self.not_placed(room.nid, outliers::prev_events_first(pdus)).await?;
        if new.is_empty() {
            return Ok(Outcomes::new());
        }
        let found = self.with_missing(origin, room, &new, deadline).await?;
        self.complete_auth_events(origin, room, &found.events, deadline).await?;
        let missing_from = |pdu: &Pdu, missing: &[&EventId]| Some(found.missing_from(pdu, missing));
        let told = self.told_states(origin, room, &found.events, deadline, missing_from).await?;
        let pdus = policy::with_recommendations(&self.writer, room, found.events.clone()).await;
        let mut outcomes = self.add_all(room, &pdus, &told, arrival).await?;
        if !found.any_fetched {
            return Ok(outcomes);
        }
        // Where what leads to an event has no place, because something of that is nowhere to be had, the state before
        // it may be.
        let is_missing = |id: &EventId| {
            outcomes.iter().any(|(it, outcome)| it == id && matches!(outcome, Err(ReceiveError::MissingEvents)))
        };
        let asked_for: HashSet<&EventId> = new.iter().map(Pdu::event_id).collect();
        let is_left = |pdu: &&Pdu| asked_for.contains(pdu.event_id()) && is_missing(pdu.event_id());
        let left: Vec<Pdu> = pdus.iter().filter(is_left).cloned().collect();
        if !left.is_empty() {
            let told = self.told_states(origin, room, &left, deadline, missing_from).await?;
            outcomes.retain(|(id, _)| left.iter().all(|pdu| pdu.event_id() != id));
            outcomes.extend(self.add_all(room, &left, &told, arrival).await?);
        }
        Ok(outcomes)
    }
}
