//! Adds backfilled events to a room: before its timeline, or into one of its gaps.

mod judged;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use judged::{JudgedCount, PastEvent, Unwritten};
use plexus_protocol::auth::{self, AuthEvent};
use plexus_protocol::event::Pdu;
use plexus_protocol::event::redact::redaction_target;
use plexus_protocol::id::EventId;
use plexus_store::repo;
use plexus_store::repo::events::{GraphNode, Verdict};
use plexus_store::repo::timeline_gaps::{Gap, START};
use plexus_store::{DbError, EventNid, HandedOver, Position, RoomNid, Tx, event_key};

use crate::model::current_state::CurrentState;
use crate::model::engine_memory::EngineMemory;
use crate::model::event_lookup;
use crate::model::head::Head;
use crate::model::interner::{Lookups, NewTexts};
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::timeline_event::{AppliedRedaction, TimelineEvent};
use crate::write::error::{AddError, PersistError};
use crate::write::event_rows::GraphRows;
use crate::write::graph::candidate::Candidate;
use crate::write::graph::state_before::{self, state_after};
use crate::write::graph::{GivenStates, auth_events_of};
use crate::write::pending::{Forwarding, JudgedEvent};
use crate::write::persist::apply_redactions;
use crate::write::redactions::{self, PendingRedaction};
use crate::write::writer::RoomWriter;
use crate::write::{auth_state, event_tasks, head_lock, outliers};

/// The number of events that are judged and written under one lock, while others wait to send to the room.
const EVENTS_PER_LOCK: usize = 50;

/// The place in a timeline that events are backfilled into.
#[derive(Clone, Copy)]
pub enum BackfillPlace {
    /// Before its first event: this server had not joined the room.
    Start,
    /// A gap.
    Gap(Gap),
}

impl BackfillPlace {
    /// Returns the number of the gap.
    pub fn number(self) -> EventNid {
        match self {
            Self::Start => START,
            Self::Gap(gap) => gap.gap_nid,
        }
    }
}

/// The result of backfilling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackfillOutcome {
    /// Missing events were added.
    Added,
    /// No server returned any.
    NotFound,
    /// Events are still being fetched, or wait for the states before some of them.
    Pending,
}

/// Events that were fetched from other servers.
pub struct BackfilledEvents {
    /// The place that they are added to.
    pub place: BackfillPlace,
    /// The events, prev events first.
    pub pdus: Vec<Pdu>,
    /// The states before events with missing prev events.
    pub given: GivenStates,
    /// Whether the state before one of them is not known. No event gets a position then: later events would get lower
    /// positions than earlier ones.
    pub lacks_states: bool,
    /// The backward extremities: stored events with missing prev events.
    pub extremities: Vec<(EventNid, Pdu)>,
    /// Missing events that belong to an older gap.
    pub older: HashSet<EventId>,
}

impl BackfilledEvents {
    /// Returns no events: only the missing prev events are noted again.
    pub fn none(place: BackfillPlace, extremities: Vec<(EventNid, Pdu)>, older: HashSet<EventId>) -> Self {
        Self { place, pdus: Vec::new(), given: GivenStates::new(), lacks_states: false, extremities, older }
    }
}

/// Judges events by the state before each, and adds them before the events that are in their place already.
///
/// # Errors
/// See [`AddError`].
pub async fn add(
    writer: &RoomWriter,
    room: &Arc<Room>,
    backfilled: BackfilledEvents,
) -> Result<BackfillOutcome, AddError> {
    let _one_at_a_time = room.adding.lock().await;
    let mut judged = JudgedCount::default();
    for pdus in backfilled.pdus.chunks(EVENTS_PER_LOCK) {
        judge_some(writer, room, pdus, &backfilled.given, &mut judged).await?;
    }
    if backfilled.lacks_states {
        // Judged events need no state the next time.
        return Ok(if judged.new > 0 { BackfillOutcome::Pending } else { BackfillOutcome::NotFound });
    }
    settle(writer, room, backfilled).await?;
    Ok(if judged.new + judged.before > 0 { BackfillOutcome::Added } else { BackfillOutcome::NotFound })
}

/// Judges events and adds them to the graph, without positions.
async fn judge_some(
    writer: &RoomWriter,
    room: &Arc<Room>,
    pdus: &[Pdu],
    given: &GivenStates,
    judged: &mut JudgedCount,
) -> Result<(), AddError> {
    // Held until the commit, so that no pending event redacts one of these, or is redacted by one of them. The current
    // state may contain redacted events.
    let mut head = head_lock::settled_head(writer, room).await?;
    let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
    let known = event_lookup::known(&writer.db, &ids).await?;
    let mut auth_events = auth_events_of(&writer.db, room, pdus).await?;
    let mut unwritten = Unwritten::default();
    for pdu in pdus {
        let stored = known.get(pdu.event_id());
        if let Some(known) = stored.filter(|known| known.snapshot_nid.is_some() || known.room_nid != room.nid) {
            // It may lack only a position.
            judged.before += usize::from(known.is_in_graph(room.nid) && !known.has_place(room.nid));
            continue;
        }
        let Some(by_auth_events) = outliers::by_auth_events(room.version, pdu, &auth_events) else { continue };
        if redaction_target(pdu).is_some() {
            // Its target is looked up in the database.
            write_past(writer, room, &mut head, std::mem::take(&mut unwritten)).await?;
        }
        let candidate = Candidate {
            pdu,
            stored,
            by_auth_events,
            is_refused: false,
            auth_events: &auth_events,
            unwritten: &unwritten.known,
            given: given.get(pdu.event_id()).map(|given| &given.state),
            missing: None,
            entering: false,
            partial: None,
            forwarding: Forwarding::No,
            transaction: None,
        };
        let past = match judge(writer, room, &head, &candidate).await {
            Ok(past) => past,
            Err(AddError::MissingEvents) => continue,
            Err(error) => return Err(error),
        };
        judged.new += 1;
        let rejected = past.judged.verdict == Verdict::Rejected;
        auth_events.insert(pdu.event_id().clone(), AuthEvent { pdu: pdu.clone(), rejected });
        let is_needed = past.is_needed_by_later_ones();
        unwritten.add(room.nid, past);
        if is_needed {
            write_past(writer, room, &mut head, std::mem::take(&mut unwritten)).await?;
        }
    }
    write_past(writer, room, &mut head, unwritten).await
}

/// Gives events their positions, the last of them the newest, and notes the prev events that are still missing.
async fn settle(writer: &RoomWriter, room: &Arc<Room>, backfilled: BackfilledEvents) -> Result<(), AddError> {
    let BackfilledEvents { place, pdus, given: _, lacks_states: _, extremities, older } = backfilled;
    let (mut still_missing, mut moved) = (Vec::new(), Vec::new());
    let looked_at: Vec<Pdu> = extremities.iter().map(|(_, pdu)| pdu.clone()).chain(pdus.iter().cloned()).collect();
    let named: Vec<EventId> = looked_at.iter().flat_map(Pdu::prev_events).cloned().collect();
    let ids: Vec<EventId> = looked_at.iter().map(|pdu| pdu.event_id().clone()).collect();
    let (named, own) = (event_lookup::known(&writer.db, &named).await?, event_lookup::known(&writer.db, &ids).await?);
    let fetched: HashSet<&EventId> = pdus.iter().map(Pdu::event_id).collect();
    let is_placed = |id| {
        // The fetched events get their positions now.
        let is_placed =
            |known: &GraphNode| known.has_place(room.nid) || (fetched.contains(id) && known.is_in_graph(room.nid));
        named.get(id).is_some_and(is_placed)
    };
    for pdu in &looked_at {
        let known = own.get(pdu.event_id()).filter(|known| known.snapshot_nid.is_some());
        let Some(known) = known.filter(|_| !pdu.prev_events().iter().all(is_placed)) else { continue };
        if pdu.prev_events().iter().all(|id| is_placed(id) || older.contains(id)) {
            moved.push(known.event_nid);
        } else {
            still_missing.push(known.event_nid);
        }
    }
    let done: Vec<EventNid> =
        extremities.iter().map(|(nid, _)| *nid).filter(|nid| !still_missing.contains(nid)).collect();
    let keys: Vec<Vec<u8>> = pdus.iter().map(|pdu| event_key::encode(pdu.event_id())).collect();
    let older_gap = match place {
        BackfillPlace::Gap(gap) => room.view().gaps.newest_open(gap.top).map_or(START, |gap| gap.gap_nid),
        BackfillPlace::Start => START,
    };
    let (nid, writing) = (room.nid, Arc::clone(room));
    // Held until the commit, so that no pending event is noted with the gap, which may be closed now.
    let settled = head_lock::settled_head(writer, room).await?;
    let revision = room.revision_of(settled.epoch).ok_or(PersistError::Stale)?;
    writer
        .db
        .write(move |tx| {
            let lowest = order_past(tx, nid, place, &keys)?;
            repo::timeline_gaps::remove_backward_extremities(tx, place.number(), &done)?;
            repo::timeline_gaps::add_backward_extremities(tx, nid, place.number(), &still_missing)?;
            repo::timeline_gaps::add_backward_extremities(tx, nid, older_gap, &moved)?;
            if let BackfillPlace::Gap(gap) = place {
                let gap = Gap { lowest, ..gap };
                let is_missing = !repo::timeline_gaps::backward_extremities(tx, nid, gap.gap_nid)?.is_empty();
                // A gap without a free position cannot be filled.
                let gap = Gap { is_open: is_missing && !gap.is_full(), ..gap };
                repo::timeline_gaps::set(tx, nid, &gap)?;
                let object = HandedOver::new(Arc::new(MovedGap { room: writing, gap }));
                repo::rooms::touch(tx, nid, revision, false, object)?;
            }
            Ok::<_, PersistError>(())
        })
        .await?;
    Ok(())
}

async fn judge(
    writer: &RoomWriter,
    room: &Arc<Room>,
    head: &Head,
    candidate: &Candidate<'_>,
) -> Result<PastEvent, AddError> {
    let pdu = candidate.pdu;
    let before = state_before::state_before(writer, room, head, candidate).await?;
    let state = auth_state::auth_state(&writer.rooms, room.version, &before.at.state, pdu).await?;
    let allowed = auth::check(room.version.rules(), pdu, &state.lookup()).is_ok();
    let verdict = match candidate.by_auth_events {
        Verdict::Accepted if allowed => Verdict::Accepted,
        _ => Verdict::Rejected,
    };
    let nid = match candidate.stored {
        Some(known) => known.event_nid,
        None => writer.nids.take(2).await?,
    };
    let redacted_by = redactions::early_redaction(room, pdu).await?;
    let redacts = redactions::resolve_target(room, &before.at, pdu).await?.filter(|_| verdict == Verdict::Accepted);
    let judged = JudgedEvent {
        snapshot_before: Some(before.at.snapshot),
        snapshots: state_after(nid, pdu, verdict, before).new,
        redacted_by,
        ..JudgedEvent::new(nid, pdu.clone(), candidate.stored.is_some(), verdict)?
    };
    Ok(PastEvent { judged, redacts })
}

async fn write_past(
    writer: &RoomWriter,
    room: &Arc<Room>,
    head: &mut Head,
    unwritten: Unwritten,
) -> Result<(), AddError> {
    let past = unwritten.events;
    if past.is_empty() {
        return Ok(());
    }
    let (nid, memory) = (room.nid, Arc::clone(&writer.rooms.memory));
    let redactions: Vec<_> = past.iter().flat_map(PastEvent::redactions).collect();
    let expiring: Vec<_> = if memory.expiring_messages {
        past.iter().filter_map(|event| event.expiry_task(room)).collect()
    } else {
        Vec::new()
    };
    if redactions.is_empty() {
        let written = writer.db.write(move |tx| {
            event_tasks::schedule(tx, &memory, &expiring)?;
            write(tx, nid, &past, memory.interner.lookups())
        });
        let texts = written.await?;
        writer.rooms.memory.interner.keep(texts);
        return Ok(());
    }
    let mut current = Arc::clone(&head.current);
    let (version, server_name) = (room.version, writer.server_name.as_str());
    let pending: Vec<_> = redactions
        .into_iter()
        .map(|(target, because)| (PendingRedaction::new(target, &mut current, version, server_name), because))
        .collect();
    let ended = head.current.guests_can_join && !current.guests_can_join && !current.local_joined.is_empty();
    let guest_access_ended = ended.then(|| room.view().position);
    let (now_ms, writing, next) = (writer.clock.now_ms(), Arc::clone(room), Arc::clone(&current));
    let revision = room.revision_of(head.epoch).ok_or(PersistError::Stale)?;
    let texts = writer
        .db
        .write(move |tx| {
            let texts = write(tx, nid, &past, memory.interner.lookups())?;
            event_tasks::schedule(tx, &memory, &expiring)?;
            for (redaction, because) in &pending {
                repo::events::set_redacted(tx, redaction.target.nid, because.nid)?;
                repo::redactions::add(tx, &[redaction.target.nid], now_ms)?;
            }
            if let Some(position) = guest_access_ended {
                repo::guest_access::ended(tx, nid, position)?;
            }
            let object = HandedOver::new(Arc::new(RedactedPast { room: writing, current: next, redactions: pending }));
            repo::rooms::touch(tx, nid, revision, true, object)?;
            Ok::<_, PersistError>(texts)
        })
        .await?;
    writer.rooms.memory.interner.keep(texts);
    head.current = current;
    Ok(())
}

/// A gap that was filled, in part or completely.
pub(crate) struct MovedGap {
    pub room: Arc<Room>,
    gap: Gap,
}

impl MovedGap {
    /// Takes the room in memory to a revision. Runs on the writer thread.
    pub(crate) fn apply(&self, revision: i64) {
        let view = self.room.view();
        self.room.advance(revision, || RoomView { gaps: view.gaps.with(self.gap), ..RoomView::clone(&view) });
    }
}

/// Redactions that took effect with backfilled events.
pub(crate) struct RedactedPast {
    pub room: Arc<Room>,
    /// The current state after them.
    current: Arc<CurrentState>,
    redactions: Vec<(PendingRedaction, Arc<TimelineEvent>)>,
}

impl RedactedPast {
    /// Takes the room in memory to a revision. Runs on the writer thread, while the room's head is held.
    pub(crate) fn apply(&self, memory: &EngineMemory, revision: i64) {
        let applied = self.redactions.iter().map(|(redaction, because)| AppliedRedaction {
            target: redaction.target.nid,
            redacted: &redaction.target.redacted,
            because,
        });
        apply_redactions(memory, &self.room, revision, &self.current, applied);
    }
}

/// Gives the events of the graph positions below those of the events that are in the gap already; the last gets the
/// highest. Returns the lowest position in use.
fn order_past(tx: &mut Tx<'_>, room: RoomNid, place: BackfillPlace, keys: &[Vec<u8>]) -> Result<Position, DbError> {
    let known = repo::events::known(tx, keys)?;
    let unplaced: HashMap<Vec<u8>, EventNid> = known
        .into_iter()
        .filter(|known| known.position.is_none() && known.verdict == Verdict::Accepted)
        .filter(|known| known.room_nid == room && known.snapshot_nid.is_some())
        .map(|known| (known.event_id, known.event_nid))
        .collect();
    let (before, floor) = match place {
        BackfillPlace::Start => (repo::events::lowest_position(tx, room)?.min(0), Position::MIN),
        BackfillPlace::Gap(gap) => (gap.lowest, gap.floor()),
    };
    let newest_first = keys.iter().rev().filter_map(|key| unplaced.get(key).copied());
    let positions: Vec<(EventNid, Position)> =
        newest_first.zip(1..).map(|(event, back)| (event, before - back)).filter(|(_, at)| *at > floor).collect();
    repo::events::set_past_positions(tx, &positions)?;
    Ok(positions.last().map_or(before, |(_, at)| *at))
}

/// Stores judged events without positions.
fn write(tx: &mut Tx<'_>, room: RoomNid, events: &[PastEvent], mut lookups: Lookups<'_>) -> Result<NewTexts, DbError> {
    let mut rows = GraphRows::default();
    for PastEvent { judged, redacts } in events {
        rows.add(tx, &mut lookups, room, judged, None, false)?;
        if judged.verdict != Verdict::Accepted {
            continue;
        }
        if redacts.as_ref().is_none_or(|target| !target.in_timeline) {
            rows.add_early_redaction(judged);
        }
        rows.add_relation(tx, &mut lookups, room, judged, None)?;
    }
    rows.write(tx)?;
    Ok(lookups.into_new())
}
