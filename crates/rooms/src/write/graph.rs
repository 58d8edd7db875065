//! Adds events to the graph of a room: judges them by the authorization rules, makes them forward extremities and
//! updates the current state (<https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>,
//! checks 4 to 7).

mod advance;
pub(crate) mod candidate;
mod judge;
mod opened_gap;
pub(super) mod state_before;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::auth::AuthEvent;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::redact::{self, redaction_target};
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::repo::events::{GraphNode, Verdict};
use plexus_store::repo::partial_joins::PartialJoin;
use plexus_store::{Database, DbError, EventNid, Position};

use self::candidate::Candidate;
use self::opened_gap::OpenedGap;
use self::state_before::StateBefore;
use crate::model::head::Head;
use crate::model::room::Room;
use crate::model::timeline_event::{Replaced, Transaction};
use crate::model::{auth_index, current_state, event_lookup};
use crate::write::error::AddError;
use crate::write::pending::{Append, Entered, Forwarding, JudgedEvent, PendingEvent};
use crate::write::persist::Committed;
use crate::write::redactions::{self, PendingRedaction};
use crate::write::transactions::TransactionKey;
use crate::write::writer::RoomWriter;
use crate::write::{head_lock, outliers};

pub use candidate::{GapRef, PartialJoinState};

/// The maximum depth, above the room's, that an event after a gap gets. The depth of an event is a claim of its sender,
/// and no event of a lower depth is fetched to go after the gap.
const MAX_DEPTH_AHEAD: u64 = 100_000;
/// The number of attempts to add an event while the room changes.
const MAX_ATTEMPTS: usize = 8;

/// The result of adding an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddOutcome {
    /// It is in the room's timeline, at this position.
    InTimeline(Position),
    /// It was in the room's graph already.
    AlreadyAdded,
    /// It is stored but not shown: the current state does not allow it.
    SoftFailed,
    /// The authorization rules do not allow it.
    Rejected,
}

impl AddOutcome {
    fn of(verdict: Verdict, position: Position) -> Self {
        match verdict {
            Verdict::Accepted => Self::InTimeline(position),
            Verdict::SoftFailed => Self::SoftFailed,
            Verdict::Rejected => Self::Rejected,
        }
    }
}

/// The results of adding events, in the order in which they were tried.
pub type AddOutcomes = Vec<(EventId, Result<AddOutcome, AddError>)>;

/// The states before events, by event id.
pub type GivenStates = HashMap<EventId, GivenState>;

/// The state before an event with missing prev events, from another server.
pub struct GivenState {
    /// The events of the state.
    pub state: Vec<EventNid>,
    /// The gap that the missing events belong to; `None` if they are here and wait to be added.
    pub gap: Option<GapRef>,
}

/// How events came to this server.
#[derive(Clone, Copy)]
pub enum EventSource<'a> {
    /// From other servers, which send them to each other.
    Federation,
    /// From other servers. The server `by` submitted one of them, to be sent to the others by this one.
    Submitted {
        /// The submitted event.
        event: &'a EventId,
        /// The server that submitted it.
        by: &'a ServerName,
    },
    /// From a user of this server. Built on an earlier head.
    Local {
        /// The client's transaction.
        transaction: Option<&'a (TransactionKey, Transaction)>,
        /// Whether other servers get it at once. Otherwise they get it when they miss it.
        is_forwarded: bool,
    },
    /// By joining a room through another server; set if part of the state is missing.
    Join(Option<&'a PartialJoinState>),
}

impl EventSource<'_> {
    fn forwarding(self, pdu: &Pdu) -> Forwarding {
        match self {
            Self::Submitted { event, by } if event == pdu.event_id() => Forwarding::SubmittedBy(by.clone()),
            Self::Local { is_forwarded: true, .. } => Forwarding::Own,
            Self::Local { .. } | Self::Submitted { .. } | Self::Federation | Self::Join(_) => Forwarding::No,
        }
    }
}

/// Adds the join by which this server comes into a room, with the state before it, or part of that state.
///
/// # Errors
/// See [`AddError`].
pub async fn add_join(
    writer: &RoomWriter,
    room: &Arc<Room>,
    join: &Pdu,
    state: Vec<EventNid>,
    partial: Option<&PartialJoinState>,
) -> Result<AddOutcome, AddError> {
    let given = GivenState { state, gap: Some(GapRef::New) };
    let given = GivenStates::from([(join.event_id().clone(), given)]);
    add_one(writer, room, join, &given, EventSource::Join(partial)).await
}

/// Adds a local user's join that another server has accepted, to a room with partial state. The events before it have
/// to wait for the rest of the state, so that the state at hand is taken for the state before the join.
///
/// # Errors
/// See [`AddError`].
pub async fn add_join_to_partial_room(
    writer: &RoomWriter,
    room: &Arc<Room>,
    join: &Pdu,
) -> Result<AddOutcome, AddError> {
    let state = room.view().state.iter().map(|entry| entry.nid).collect();
    let given = GivenStates::from([(join.event_id().clone(), GivenState { state, gap: None })]);
    add_one(writer, room, join, &given, EventSource::Federation).await
}

/// Adds an event that this server built on an earlier head.
pub(crate) async fn add_local(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdu: &Pdu,
    transaction: Option<&(TransactionKey, Transaction)>,
    is_forwarded: bool,
) -> Result<AddOutcome, AddError> {
    let source = EventSource::Local { transaction, is_forwarded };
    add_one(writer, room, pdu, &GivenStates::new(), source).await
}

/// Adds events to a room's graph, prev events first. `refused`: those that a policy hook refuses.
///
/// # Errors
/// When the database fails, or other writers keep changing the room.
pub async fn add_all(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdus: &[Pdu],
    given: &GivenStates,
    refused: &HashSet<EventId>,
    source: EventSource<'_>,
) -> Result<AddOutcomes, AddError> {
    for _ in 0..MAX_ATTEMPTS {
        match try_add_all(writer, room, pdus, given, refused, source).await {
            Err(AddError::Contended) => {}
            done => return done,
        }
    }
    Err(AddError::Contended)
}

async fn add_one(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdu: &Pdu,
    given: &GivenStates,
    source: EventSource<'_>,
) -> Result<AddOutcome, AddError> {
    for _ in 0..MAX_ATTEMPTS {
        match try_add_all(writer, room, std::slice::from_ref(pdu), given, &HashSet::new(), source).await {
            Err(AddError::Contended) => {}
            Err(error) => return Err(error),
            Ok(outcomes) => {
                let first = outcomes.into_iter().next();
                return first.map_or(Ok(AddOutcome::AlreadyAdded), |(_, outcome)| outcome);
            }
        }
    }
    Err(AddError::Contended)
}

async fn try_add_all(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdus: &[Pdu],
    given: &GivenStates,
    refused: &HashSet<EventId>,
    source: EventSource<'_>,
) -> Result<AddOutcomes, AddError> {
    let _one_at_a_time = room.adding.lock().await;
    let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
    let known = event_lookup::known(&writer.db, &ids).await?;
    let mut auth_events = auth_events_of(&writer.db, room, pdus).await?;
    let mut outcomes = AddOutcomes::with_capacity(pdus.len());
    // Each event is queued to be committed before the next one is judged.
    let unwritten = HashMap::new();
    let mut running: Vec<(usize, Verdict, Committed)> = Vec::new();
    let mut opened_gap = OpenedGap::default();
    for pdu in pdus {
        let stored = known.get(pdu.event_id());
        let outcome = if stored.is_some_and(|known| known.snapshot_nid.is_some() || known.room_nid != room.nid) {
            Ok(AddOutcome::AlreadyAdded)
        } else if let Some(by_auth_events) = outliers::by_auth_events(room.version, pdu, &auth_events) {
            let (entering, partial) = match source {
                EventSource::Join(partial) => (true, partial),
                _ => (false, None),
            };
            let given = given.get(pdu.event_id());
            let candidate = Candidate {
                pdu,
                stored,
                by_auth_events,
                is_refused: refused.contains(pdu.event_id()),
                auth_events: &auth_events,
                unwritten: &unwritten,
                given: given.map(|given| &given.state),
                missing: gap_of_missing(writer, room, pdu, given, entering).await?,
                entering,
                partial,
                forwarding: source.forwarding(pdu),
                transaction: if let EventSource::Local { transaction, .. } = source { transaction } else { None },
            };
            match add(writer, room, &candidate, &mut opened_gap).await {
                Ok((verdict, committed)) => {
                    running.push((outcomes.len(), verdict, committed));
                    let rejected = verdict == Verdict::Rejected;
                    auth_events.insert(pdu.event_id().clone(), AuthEvent { pdu: pdu.clone(), rejected });
                    Ok(AddOutcome::of(verdict, 0))
                }
                // Acknowledged events must not be lost with the database; they are tried again.
                Err(AddError::Db(error)) if !error.is_of_one() => return Err(error.into()),
                Err(error) => Err(error),
            }
        } else {
            Err(AddError::MissingEvents)
        };
        outcomes.push((pdu.event_id().clone(), outcome));
    }
    for (at, verdict, committed) in running {
        let position = committed.await.map_err(|_| DbError::Closed)??;
        if let Some((_, outcome)) = outcomes.get_mut(at) {
            *outcome = Ok(AddOutcome::of(verdict, position));
        }
    }
    Ok(outcomes)
}

/// Returns the stored auth events of these events.
pub(super) async fn auth_events_of(
    db: &Database,
    room: &Room,
    pdus: &[Pdu],
) -> Result<HashMap<EventId, AuthEvent>, DbError> {
    let mut named: Vec<EventId> =
        pdus.iter().flat_map(|pdu| pdu.auth_events().iter().cloned().chain(outliers::create_event_of(pdu))).collect();
    named.sort_unstable();
    named.dedup();
    auth_index::auth_events(db, (room.nid, room.version), &named).await
}

/// Returns the gap that the missing prev events of an event belong to; `None` if none are missing.
async fn gap_of_missing(
    writer: &RoomWriter,
    room: &Room,
    pdu: &Pdu,
    given: Option<&GivenState>,
    entering: bool,
) -> Result<Option<GapRef>, DbError> {
    let Some(given) = given else { return Ok(None) };
    // When this server joins for the first time, all missing events are before its timeline.
    if entering && room.view().extremities().next().is_none() {
        return Ok(None);
    }
    let known = event_lookup::known(&writer.db, pdu.prev_events()).await?;
    let is_placed = |id| known.get(id).is_some_and(|known: &GraphNode| known.has_place(room.nid));
    Ok(given.gap.filter(|_| !pdu.prev_events().iter().all(is_placed)))
}

/// Judges an event and sends it to the persister.
async fn add(
    writer: &RoomWriter,
    room: &Arc<Room>,
    candidate: &Candidate<'_>,
    opened_gap: &mut OpenedGap,
) -> Result<(Verdict, Committed), AddError> {
    let pdu = candidate.pdu;
    let mut head = head_lock::lock_head(writer, room).await?;
    let looks_up_redactions = head.redacting || redaction_target(pdu).is_some();
    if candidate.given.is_some() || looks_up_redactions || !state_before::follows(&head, pdu) {
        drop(head);
        head = head_lock::settled_head(writer, room).await?;
    }
    let before = state_before::state_before(writer, room, &head, candidate).await?;
    let verdict = judge::verdict(writer, room, &head, candidate, &before.at).await?;
    let nid = match candidate.stored {
        Some(known) => known.event_nid,
        None => writer.nids.take(2).await?,
    };
    let (mut pending, mut next) = pending_event(writer, room, &head, candidate, (nid, verdict), before).await?;
    let permit = writer.persister.reserve().await?;
    let depth = pdu.depth().min(head.tip.depth.saturating_add(MAX_DEPTH_AHEAD));
    pending.missing = opened_gap.missing(&room.view(), nid, depth, candidate.missing, pending.in_timeline);
    let epoch = head.epoch;
    next.hidden |= verdict != Verdict::Accepted;
    *head = next;
    let enters = candidate.entering && verdict == Verdict::Accepted;
    let entered = enters.then(|| Entered { partial: partial_join(candidate, &pending) });
    let append = Append { room: Arc::clone(room), epoch, events: vec![pending], creation: None, entered };
    Ok((verdict, permit.send(append)))
}

/// Returns the event for the persister, and the head after it.
async fn pending_event(
    writer: &RoomWriter,
    room: &Room,
    head: &Head,
    candidate: &Candidate<'_>,
    (nid, verdict): (EventNid, Verdict),
    before: StateBefore,
) -> Result<(PendingEvent, Head), AddError> {
    let pdu = candidate.pdu;
    let snapshot_before = before.at.snapshot;
    let redacted_by = match verdict {
        Verdict::Accepted => redactions::early_redaction(room, pdu).await?,
        Verdict::SoftFailed | Verdict::Rejected => None,
    };
    let shown = if redacted_by.is_some() { redact::redact(pdu) } else { pdu.clone() };
    let mut after = state_before::state_after(nid, &shown, verdict, before);
    let mut next = head.clone();
    next.redacting |= redaction_target(pdu).is_some();
    let mut changes = Vec::new();
    let mut redacts = None;
    let mut replaced = None;
    if verdict == Verdict::Accepted {
        let target = redactions::resolve_target(room, &after.at, pdu).await?;
        changes = advance::advance(writer, room, head, &mut next, candidate, nid, &mut after).await?;
        let server_name = writer.server_name.as_str();
        redacts = target.map(|it| PendingRedaction::new(it, &mut next.current, room.version, server_name));
        // It may have been part of the current state already, as an outlier.
        if let Some(redacted) = after.kept.as_ref().filter(|_| redacted_by.is_some()) {
            current_state::redact_in_state(&mut next.current, redacted, room.version, server_name);
        }
        let own = changes.iter().find(|change| change.entry.as_ref().is_some_and(|entry| entry.nid == nid));
        if let Some(own) = own
            && let Some(entry) = head.current.state.get(&own.event_type, &own.state_key)
        {
            let before = writer.rooms.readable_entry_pdu(room.version, entry).await?;
            replaced = before.map(|before| Replaced::of(entry.nid, &before));
        }
    }
    let judged = JudgedEvent {
        snapshot_before: Some(snapshot_before),
        snapshots: after.new,
        redacted_by,
        ..JudgedEvent::new(nid, pdu.clone(), candidate.stored.is_some(), verdict)?
    };
    let pending = PendingEvent {
        changes,
        replaced,
        _kept: after.kept,
        transaction: candidate.transaction.cloned(),
        redacts,
        forwarding: candidate.forwarding.clone(),
        ..PendingEvent::new(judged, &next)
    };
    Ok((pending, next))
}

/// Returns the record of a join with partial state.
fn partial_join(candidate: &Candidate<'_>, pending: &PendingEvent) -> Option<Arc<PartialJoin>> {
    let partial = candidate.partial?;
    Some(Arc::new(PartialJoin {
        event_nid: pending.nid,
        snapshot_nid: pending.snapshot_before?.nid,
        joined_via: partial.resident.to_string(),
        servers: partial.servers.iter().map(ToString::to_string).collect(),
        visible_position: partial.is_stored.then_some(0),
        full_position: None,
    }))
}
