//! Receives the events of other servers
//! (<https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>), one step a file: `verify`
//! (signatures and hashes), `fetch_missing` and `walk_back` (missing prev events), `auth_events`, and `state_before`.
//! `plexus_rooms::write::graph` then applies the authorization rules and adds the events to the room.

mod auth_events;
mod backfill;
mod deadline;
mod fetch_missing;
mod invites;
mod lookup;
pub(crate) mod panics;
mod ready;
mod receive_state;
mod source;
mod spool;
mod state_after;
mod state_before;
mod state_fetch_limits;
mod timestamp_to_event;
mod verify;
mod walk_back;

use std::collections::HashSet;
use std::sync::Arc;

use fetch_missing::with_missing;
use plexus_base::{Background, Clock, Random};
use plexus_net::PolicyRefusal;
use plexus_protocol::event::sign::{SignatureError, SigningKey};
use plexus_protocol::event::{Pdu, PduError};
use plexus_protocol::id::{EventId, ServerName};
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::limits::LimitError;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::read::stripped::TooMuchStrippedState;
use plexus_rooms::write::graph::{AddOutcome, EventSource, GivenStates, add_all};
use plexus_rooms::write::writer::RoomWriter;
use plexus_rooms::write::{outliers, policy, policy_hooks};
use plexus_rooms::{AddError, OwnPolicy};
use plexus_store::repo::events::Verdict;
use plexus_store::{Database, DbError};
use ready::Separated;
use state_before::fetch_states;
use state_fetch_limits::StateFetchLimits;
use tokio::sync::{Notify, Semaphore};
use verify::PduVerifier;

use crate::peers::Peers;

pub(crate) use auth_events::fetch_auth_events;
pub(crate) use deadline::Deadline;
pub use invites::receive_invite;
pub(crate) use invites::{is_end_of_invite, may_end};
pub(crate) use receive_state::{ReceiveStateError, ReceivedState, receive_state};
pub(crate) use source::RemoteSource;
pub(crate) use state_after::state_after;

/// How many responses that may contain a whole room's state are read at a time.
const MAX_LARGE_RESPONSES: usize = 8;

/// The outcomes of adding events, in the order in which they were tried.
pub(crate) type Outcomes = Vec<(EventId, Result<AddOutcome, ReceiveError>)>;

/// The parts of a [`PduReceiver`].
pub struct PduReceiverParts {
    /// Writes to rooms.
    pub writer: Arc<RoomWriter>,
    /// The other servers.
    pub peers: Arc<dyn Peers>,
    /// The database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// Randomness, for checking many signatures at once.
    pub random: Random,
    /// Runs tasks that go on when their request has ended.
    pub background: Background,
    /// The key that this server signs events with.
    pub signing_key: Arc<SigningKey>,
}

/// Receives the events that other servers send.
#[derive(Clone)]
pub struct PduReceiver {
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) writer: Arc<RoomWriter>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) background: Background,
    pub(crate) signing_key: Arc<SigningKey>,
    pub(crate) verifier: PduVerifier,
    /// Notified when this server has joined a room with partial state.
    pub(crate) joined_partially: Arc<Notify>,
    state_limits: Arc<StateFetchLimits>,
    /// Permits to read responses that may contain a whole room's state.
    large_responses: Arc<Semaphore>,
}

/// Why an event was not received. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The event does not have the format of its room's version.
    #[error("malformed event: {0}")]
    Malformed(#[from] PduError),
    /// A required signature is missing or wrong.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// The invite is by a user of a server that is not in the room.
    #[error("your server is not in the room")]
    InviterNotInRoom,
    /// The room has another version.
    #[error("the room has another version")]
    OtherVersion,
    /// The event is not an invite of a user of this server.
    #[error("not an invite of a user of this server")]
    NotAnInvite,
    /// A policy hook refuses the invite.
    #[error(transparent)]
    Refused(#[from] Box<PolicyRefusal>),
    /// A limit of this server on invites is reached.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The invite comes with too much stripped state.
    #[error(transparent)]
    StrippedState(#[from] TooMuchStrippedState),
    /// The event belongs to another room.
    #[error("the event belongs to another room")]
    OtherRoom,
    /// No user of this server is in the room.
    #[error("this server is not in the room")]
    NotInRoom,
    /// The room's `m.room.server_acl` denies the sending server.
    #[error("the room's access control list denies your server")]
    DeniedByAcl,
    /// Prev events or auth events are missing, and the servers that were asked did not return them.
    #[error("events that it refers to could not be found")]
    MissingEvents,
    /// Checking the event panicked, because of a bug.
    #[error("a bug of this server keeps the event from being checked")]
    Panicked,
    /// Other changes of the room came first, repeatedly.
    #[error("the room changed too often; try again")]
    Contended,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ReceiveError {
    /// Whether the event may be received later: other events are missing, or the database failed.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::MissingEvents | Self::Contended | Self::Db(_))
    }

    /// Whether the event itself causes the database's error.
    pub(crate) fn is_caused_by_event(&self) -> bool {
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
    /// Returns a receiver of events for the rooms of a writer.
    #[must_use]
    pub fn new(parts: PduReceiverParts) -> Self {
        let PduReceiverParts { writer, peers, db, clock, random, background, signing_key } = parts;
        Self {
            rooms: Arc::clone(writer.rooms()),
            verifier: PduVerifier { peers: Arc::clone(&peers), random, db: db.clone() },
            state_limits: Arc::new(StateFetchLimits::new(&clock)),
            writer,
            peers,
            db,
            clock,
            background,
            signing_key,
            joined_partially: Arc::default(),
            large_responses: Arc::new(Semaphore::new(MAX_LARGE_RESPONSES)),
        }
    }

    /// Returns this server as a policy server, if it is one.
    #[must_use]
    pub fn own_policy(&self) -> Option<&Arc<OwnPolicy>> {
        self.writer.own_policy()
    }

    /// Receives the event of a `send_join`, `send_leave` or `send_knock` request of `origin`, which is asked for
    /// missing events. The event's signatures and hash have been verified.
    ///
    /// # Errors
    /// When events before it cannot be found, or the database fails.
    pub async fn accept(&self, origin: &ServerName, room: &Arc<Room>, pdu: Pdu) -> Result<AddOutcome, ReceiveError> {
        let id = pdu.event_id().clone();
        let is_own = pdu.sender().server_name() == self.rooms.server_name().as_str();
        // A join of this server's user through another server is sent to the room's servers by that server.
        let event_source =
            if is_own { EventSource::Federation } else { EventSource::Submitted { event: &id, by: origin } };
        let deadline = &Deadline::of_request(&self.clock);
        let source = RemoteSource { receiver: self, room, server: origin, deadline };
        let outcomes = self.process_from(&source, vec![pdu], event_source).await?;
        match outcomes.into_iter().rev().find(|(event_id, _)| *event_id == id) {
            Some((_, outcome)) => outcome,
            // It has been received from another server meanwhile.
            None => self.outcome_of(room, &id).await?.ok_or(ReceiveError::MissingEvents),
        }
    }

    /// Adds events to the room's graph, prev events first.
    async fn add_all(
        &self,
        room: &Arc<Room>,
        pdus: &[Pdu],
        given: &GivenStates,
        event_source: EventSource<'_>,
    ) -> Result<Outcomes, ReceiveError> {
        let judged = policy_hooks::judged(&self.writer, pdus).await;
        let (pdus, refused) = match &judged {
            Some(judged) => (&judged.pdus[..], &judged.refused),
            None => (pdus, &HashSet::new()),
        };
        let outcomes = add_all(&self.writer, room, pdus, given, refused, event_source).await?;
        Ok(outcomes.into_iter().map(|(id, outcome)| (id, outcome.map_err(ReceiveError::from))).collect())
    }

    /// Returns the outcome of an event that is in the graph already.
    async fn outcome_of(&self, room: &Room, id: &EventId) -> Result<Option<AddOutcome>, DbError> {
        let known = event_lookup::known(&self.db, std::slice::from_ref(id)).await?;
        let placed = known.get(id).filter(|known| known.snapshot_nid.is_some() && known.room_nid == room.nid);
        Ok(placed.map(|known| match known.verdict {
            Verdict::Accepted => AddOutcome::AlreadyAdded,
            Verdict::SoftFailed => AddOutcome::SoftFailed,
            Verdict::Rejected => AddOutcome::Rejected,
        }))
    }

    /// Adds the events that need no other server. Returns their outcomes, and the events that need one. Events that are
    /// in the graph already are in neither.
    pub(crate) async fn add_ready(
        &self,
        room: &Arc<Room>,
        pdus: Vec<Pdu>,
    ) -> Result<(Outcomes, Vec<Pdu>), ReceiveError> {
        let Separated { ready, later } = ready::separate(&self.db, room, pdus).await?;
        let outcomes = self.add_all(room, &ready, &GivenStates::new(), EventSource::Federation).await?;
        Ok((outcomes, later))
    }

    /// Adds events of a room, and the missing events before them. Returns the outcome of each event that was tried.
    pub(crate) async fn process(&self, source: &RemoteSource<'_>, pdus: Vec<Pdu>) -> Result<Outcomes, ReceiveError> {
        self.process_from(source, pdus, EventSource::Federation).await
    }

    async fn process_from(
        &self,
        source: &RemoteSource<'_>,
        pdus: Vec<Pdu>,
        event_source: EventSource<'_>,
    ) -> Result<Outcomes, ReceiveError> {
        let room = source.room;
        let new = lookup::without_place(&self.db, room.nid, outliers::prev_events_first(pdus)).await?;
        if new.is_empty() {
            return Ok(Outcomes::new());
        }
        let found = with_missing(source, &new).await?;
        fetch_auth_events(source, &found.events).await?;
        let gap_of = |pdu: &Pdu, missing: &[&EventId]| Some(found.gap_of(pdu, missing));
        let states = fetch_states(source, &found.events, gap_of).await?;
        let pdus = policy::with_recommendations(&self.writer, room, found.events.clone()).await;
        let mut outcomes = self.add_all(room, &pdus, &states, event_source).await?;
        if !found.any_fetched {
            return Ok(outcomes);
        }
        // Fetched events that could not be added may come before one of the new events, whose state may be available
        // nevertheless.
        let is_missing = |id: &EventId| {
            outcomes.iter().any(|(it, outcome)| it == id && matches!(outcome, Err(ReceiveError::MissingEvents)))
        };
        let new_ids: HashSet<&EventId> = new.iter().map(Pdu::event_id).collect();
        let is_left = |pdu: &&Pdu| new_ids.contains(pdu.event_id()) && is_missing(pdu.event_id());
        let left: Vec<Pdu> = pdus.iter().filter(is_left).cloned().collect();
        if !left.is_empty() {
            let states = fetch_states(source, &left, gap_of).await?;
            outcomes.retain(|(id, _)| left.iter().all(|pdu| pdu.event_id() != id));
            outcomes.extend(self.add_all(room, &left, &states, event_source).await?);
        }
        Ok(outcomes)
    }
}
