//! An event's place in its room: the authorization rules decide whether it gets one (server-server API, "Checks
//! performed on receipt of a PDU", 4 to 6), its predecessors decide where.

mod advance;
mod judge;
pub(super) mod state_before;

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::auth::AuthEvent;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::redact::{self, redaction_target};
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::repo::events::{Known, Verdict};
use plexus_store::repo::partial_joins::PartialJoin;
use plexus_store::repo::timeline_gaps::START;
use plexus_store::{Database, DbError, EventNid, Position, pdu_json};
use state_before::StateBefore;

use crate::model::head::Head;
use crate::model::room::Room;
use crate::model::timeline_event::{Replaced, Transaction};
use crate::model::{auth_index, current_state, event_lookup};
use crate::write::persist::{Append, Committed, Entered, Missing, PendingEvent, PersistError, Sending};
use crate::write::redactions::{self, PendingRedaction};
use crate::write::transactions::TransactionKey;
use crate::write::writer::RoomWriter;
use crate::write::{head_lock, outliers};

/// How much deeper than what is here the event after a gap is believed to be. Its depth is what its sender says, and
/// nothing that is less deep is fetched to be placed after the gap.
const MOST_MISSED: u64 = 100_000;

/// The outcome for an event that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the room's timeline, at this position.
    Timeline(Position),
    /// It was in the room's graph already.
    Known,
    /// It is stored but not shown: the current state does not allow it.
    SoftFailed,
    /// The authorization rules do not allow it.
    Rejected,
}

fn accepted(verdict: Verdict, position: Position) -> Accepted {
    match verdict {
        Verdict::Accepted => Accepted::Timeline(position),
        Verdict::SoftFailed => Accepted::SoftFailed,
        Verdict::Rejected => Accepted::Rejected,
    }
}

/// Why an event was not added to a room's graph. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddError {
    /// Events that it refers to are missing.
    #[error("events that it refers to could not be found")]
    MissingEvents,
    /// Other writers were faster, again and again.
    #[error("the room changed too often; try again")]
    Contended,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<PersistError> for AddError {
    fn from(error: PersistError) -> Self {
        match error {
            PersistError::Db(error) => Self::Db(error),
            PersistError::Stale | PersistError::DuplicateTransaction | PersistError::AliasTaken => Self::Contended,
        }
    }
}

/// How often an event is added anew because the room has changed meanwhile.
const ATTEMPTS: usize = 8;
/// The states before events, by event id.
pub type GivenStates = HashMap<EventId, GivenState>;

/// The state before an event some of whose prev events are missing, as another server gave it.
pub struct GivenState {
    /// The events of the state.
    pub state: Vec<EventNid>,
    /// Where the missing events belong; `None` when they are here and wait to be added.
    pub missing_from: Option<MissingFrom>,
}

/// What became of events, in the order they were tried.
pub type Outcomes = Vec<(EventId, Result<Accepted, AddError>)>;

/// An event about to be placed.
pub struct Candidate<'a> {
    pub pdu: &'a Pdu,
    /// Its row, when it is stored as an outlier.
    pub stored: Option<&'a Known>,
    /// What its auth events make of it.
    pub by_auth_events: Verdict,
    /// Its auth events, among others.
    pub auth_events: &'a HashMap<EventId, AuthEvent>,
    /// Events with a place in the graph that are not in the database yet; the states before and behind them are.
    pub unwritten: &'a HashMap<EventId, Known>,
    /// The state before it, when its predecessors are not known.
    pub given: Option<&'a Vec<EventNid>>,
    /// Where the events belong that are missing before it.
    pub missing: Option<MissingFrom>,
    /// Whether this server comes into the room by it: what it knew of the room before counts for nothing.
    pub entering: bool,
    /// When part of the state before it is missing yet.
    pub partial: Option<&'a PartialState>,
    /// Whether other servers get it from this one.
    pub sending: Sending,
    /// What the client called the request that sent it.
    pub transaction: Option<&'a (TransactionKey, Transaction)>,
}

/// Where events belong that are missing from the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingFrom {
    /// To the gap with this number, or, if it is [`START`], to before this server came into the room.
    OldGap(EventNid),
    /// To a gap that becomes known now.
    NewGap,
}

/// The gap that becomes known while events are being placed.
#[derive(Default)]
struct OpenedGap {
    /// Its number, once an event of the timeline has been placed after it.
    gap_nid: Option<EventNid>,
    /// Events before that one whose prev events are missing.
    extremities: Vec<EventNid>,
}

impl OpenedGap {
    /// What is to be noted with an event that is being placed.
    fn missing(
        &mut self,
        room: &Room,
        (event, depth): (EventNid, u64),
        from: Option<MissingFrom>,
        in_timeline: bool,
    ) -> Option<Missing> {
        let view = room.view();
        let old = |gap_nid| Some(Missing { gap_nid, opens_gap: None, extremities: vec![event] });
        match from {
            Some(MissingFrom::OldGap(gap_nid)) if gap_nid == START || view.gaps.is_open(gap_nid) => {
                return old(gap_nid);
            }
            Some(_) if self.gap_nid.is_none() && view.gaps.are_most_open() => {
                return old(view.gaps.newest_open(Position::MAX).map_or(START, |gap| gap.gap_nid));
            }
            // The old gap has been closed meanwhile: the missing events need a new one.
            Some(_) => self.extremities.push(event),
            None => {}
        }
        if self.extremities.is_empty() || (self.gap_nid.is_none() && !in_timeline) {
            return None;
        }
        let opens_gap = self.gap_nid.is_none().then_some(depth);
        let gap_nid = *self.gap_nid.get_or_insert(event);
        Some(Missing { gap_nid, opens_gap, extremities: std::mem::take(&mut self.extremities) })
    }
}

/// How events come here.
#[derive(Clone, Copy)]
pub enum Arrival<'a> {
    /// Another server sent them.
    Sent,
    /// A server handed over this one of them, to be passed on.
    Handed { event: &'a EventId, by: &'a ServerName },
    /// This server made them, on what it knew of the room at the time; what the client called the request.
    Own(Option<&'a (TransactionKey, Transaction)>),
    /// By joining a room elsewhere.
    Entering(Option<&'a PartialState>),
}

/// A state of which part is missing yet.
pub struct PartialState {
    /// The server by way of which this one comes into the room.
    pub via: ServerName,
    /// The servers in the room, as that one says.
    pub servers: Vec<ServerName>,
    /// Whether all that was given is there.
    pub given: bool,
}

impl Arrival<'_> {
    fn sending(self, pdu: &Pdu) -> Sending {
        match self {
            Self::Handed { event, by } if event == pdu.event_id() => Sending::HandedBy(by.clone()),
            Self::Own(_) => Sending::Own,
            Self::Handed { .. } | Self::Sent | Self::Entering(_) => Sending::No,
        }
    }
}

/// Places the event by which this server comes into a room, with the state before it, or part of that.
pub async fn enter(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdu: &Pdu,
    state: Vec<EventNid>,
    partial: Option<&PartialState>,
) -> Result<Accepted, AddError> {
    let given =
        GivenStates::from([(pdu.event_id().clone(), GivenState { state, missing_from: Some(MissingFrom::NewGap) })]);
    add_one(writer, room, pdu, &given, Arrival::Entering(partial)).await
}

/// Places the join of one of our users that another server has accepted while part of the room's state is missing
/// here. The events that it follows there wait for that state: the state before it is what is here.
pub async fn add_beside(writer: &RoomWriter, room: &Arc<Room>, join: &Pdu) -> Result<Accepted, AddError> {
    let state = room.view().state.iter().map(|entry| entry.nid).collect();
    let given = GivenStates::from([(join.event_id().clone(), GivenState { state, missing_from: None })]);
    add_one(writer, room, join, &given, Arrival::Sent).await
}

/// Places an event that this server has made itself on what it knew of the room at the time.
pub(crate) async fn add_own(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdu: &Pdu,
    transaction: Option<&(TransactionKey, Transaction)>,
) -> Result<Accepted, AddError> {
    add_one(writer, room, pdu, &GivenStates::new(), Arrival::Own(transaction)).await
}

/// Adds events to a room's graph, prev events first.
///
/// # Errors
/// When the database fails, or other writers are faster again and again.
pub async fn add_all(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdus: &[Pdu],
    given: &GivenStates,
    arrival: Arrival<'_>,
) -> Result<Outcomes, AddError> {
    for _ in 0..ATTEMPTS {
        match try_add_all(writer, room, pdus, given, arrival).await {
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
    arrival: Arrival<'_>,
) -> Result<Accepted, AddError> {
    for _ in 0..ATTEMPTS {
        match try_add_all(writer, room, std::slice::from_ref(pdu), given, arrival).await {
            Err(AddError::Contended) => {}
            Err(error) => return Err(error),
            Ok(outcomes) => {
                return outcomes.into_iter().next().map_or(Ok(Accepted::Known), |(_, outcome)| outcome);
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
    arrival: Arrival<'_>,
) -> Result<Outcomes, AddError> {
    let _one_at_a_time = room.intake.lock().await;
    let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
    let known = event_lookup::known(&writer.db, &ids).await?;
    let mut auth_events = auth_events_of(&writer.db, room, pdus).await?;
    let mut outcomes = Outcomes::with_capacity(pdus.len());
    // Each is on its way to the database before the next is judged.
    let unwritten = HashMap::new();
    let mut running: Vec<(usize, Verdict, Committed)> = Vec::new();
    let mut opened_gap = OpenedGap::default();
    for pdu in pdus {
        let stored = known.get(pdu.event_id());
        let outcome = if stored.is_some_and(|known| known.snapshot_nid.is_some() || known.room_nid != room.nid) {
            Ok(Accepted::Known)
        } else if let Some(by_auth_events) = outliers::by_auth_events(room.version, pdu, &auth_events) {
            let given = given.get(pdu.event_id());
            let (entering, partial) = match arrival {
                Arrival::Entering(partial) => (true, partial),
                _ => (false, None),
            };
            let sending = arrival.sending(pdu);
            let transaction = if let Arrival::Own(transaction) = arrival { transaction } else { None };
            let missing = missing_from(writer, room, pdu, given, entering).await?;
            let given = given.map(|given| &given.state);
            let candidate = Candidate {
                pdu,
                stored,
                by_auth_events,
                auth_events: &auth_events,
                unwritten: &unwritten,
                given,
                missing,
                entering,
                partial,
                sending,
                transaction,
            };
            match add(writer, room, &candidate, &mut opened_gap).await {
                Ok((verdict, committed)) => {
                    running.push((outcomes.len(), verdict, committed));
                    let rejected = verdict == Verdict::Rejected;
                    auth_events.insert(pdu.event_id().clone(), AuthEvent { pdu: pdu.clone(), rejected });
                    Ok(accepted(verdict, 0))
                }
                // What was acknowledged must not be lost with the database; it is tried again.
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
            *outcome = Ok(accepted(verdict, position));
        }
    }
    Ok(outcomes)
}

/// The auth events that these name and that are stored.
pub(super) async fn auth_events_of(
    db: &Database,
    room: &Room,
    pdus: &[Pdu],
) -> Result<HashMap<EventId, AuthEvent>, DbError> {
    let mut named: Vec<EventId> =
        pdus.iter().flat_map(|pdu| pdu.auth_events().iter().cloned().chain(outliers::create_of(pdu))).collect();
    named.sort_unstable();
    named.dedup();
    auth_index::auth_events(db, (room.nid, room.version), &named).await
}

/// Where the prev events of an event belong that are not in the graph.
async fn missing_from(
    writer: &RoomWriter,
    room: &Room,
    pdu: &Pdu,
    given: Option<&GivenState>,
    entering: bool,
) -> Result<Option<MissingFrom>, DbError> {
    let Some(given) = given else { return Ok(None) };
    // When this server comes into the room for the first time everything that is missing is before its timeline.
    if entering && room.view().extremities().next().is_none() {
        return Ok(None);
    }
    let known = event_lookup::known(&writer.db, pdu.prev_events()).await?;
    let is_placed = |id| known.get(id).is_some_and(|known| known.has_place(room.nid));
    Ok(given.missing_from.filter(|_| !pdu.prev_events().iter().all(is_placed)))
}

/// Judges an event and hands it to the persister.
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
    let (mut pending, mut next) = pending_received(writer, room, &head, candidate, (nid, verdict), before).await?;
    let permit = writer.persister.reserve().await?;
    let depth = pdu.depth().min(head.tip.depth.saturating_add(MOST_MISSED));
    pending.missing = opened_gap.missing(room, (nid, depth), candidate.missing, pending.in_timeline);
    let epoch = head.epoch;
    next.hidden |= verdict != Verdict::Accepted;
    *head = next;
    let enters = candidate.entering && verdict == Verdict::Accepted;
    let entered = enters.then(|| Entered { partial: partial_join(candidate, &pending) });
    let append = Append { room: Arc::clone(room), epoch, events: vec![pending], creation: None, entered };
    Ok((verdict, permit.send(append)))
}

/// The event as the persister takes it, and the room after it.
async fn pending_received(
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
        // It may have been part of the state before it got its place.
        if let Some(left) = after.kept.as_ref().filter(|_| redacted_by.is_some()) {
            current_state::redact_in_state(&mut next.current, left, room.version, server_name);
        }
        let own = changes.iter().find(|change| change.entry.as_ref().is_some_and(|entry| entry.nid == nid));
        if let Some(own) = own
            && let Some(entry) = head.current.state.get(&own.event_type, &own.state_key)
        {
            let before = writer.rooms.readable_entry_pdu(room.version, entry).await?;
            replaced = before.map(|before| Replaced::of(entry.nid, &before));
        }
    }
    let in_timeline = verdict == Verdict::Accepted;
    let pending = PendingEvent {
        nid,
        pdu: pdu.clone(),
        packed: if candidate.stored.is_some() {
            Vec::new()
        } else {
            pdu_json::pack(pdu.json()).map_err(DbError::from)?
        },
        stored: candidate.stored.is_some(),
        in_timeline,
        verdict,
        snapshot_before: Some(snapshot_before),
        snapshots: after.new,
        changes,
        replaced,
        _kept: after.kept,
        transaction: candidate.transaction.cloned(),
        redacted_by,
        redacts,
        tip: next.tip.clone(),
        current: Arc::clone(&next.current),
        sending: candidate.sending.clone(),
        missing: None,
    };
    Ok((pending, next))
}

/// What is noted of a state of which part is missing.
fn partial_join(candidate: &Candidate<'_>, pending: &PendingEvent) -> Option<Arc<PartialJoin>> {
    let partial = candidate.partial?;
    Some(Arc::new(PartialJoin {
        event_nid: pending.nid,
        snapshot_nid: pending.snapshot_before?.nid,
        joined_via: partial.via.to_string(),
        servers: partial.servers.iter().map(ToString::to_string).collect(),
        told_position: partial.given.then_some(0),
        full_position: None,
    }))
}
