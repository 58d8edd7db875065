//! What a room held before this server came into it, or while it was away for long, fetched when somebody pages back
//! that far (server-server API, "Backfilling and retrieving missing events").

mod judged;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::auth::{self, AuthEvent};
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::repo::events::{Known, NewEvent, StoredEvent, Verdict};
use plexus_store::repo::relations::RelationRow;
use plexus_store::repo::state_snapshots;
use plexus_store::repo::timeline_gaps::{Gap, START};
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx, event_key, pdu_json, repo};

use super::effort::most_states;
use super::place::{Candidate, behind};
use super::state_before::ToldStates;
use super::walk_back::{Bounds, Cut, Fetched};
use super::{Effort, PduReceiver, ReceiveError};
use crate::model::head::Head;
use crate::model::interner::{Lookups, NewTexts};
use crate::model::registry::Rooms;
use crate::model::room::{Room, RoomView};
use crate::model::stored_events;
use crate::model::timeline_event::AppliedRedaction;
use crate::write::outliers;
use crate::write::persist::{Sending, apply_redactions};
use crate::write::redactions::PendingRedaction;
use judged::{Judged, Past, Unwritten};
use plexus_protocol::event::redact::redaction_target;
use plexus_protocol::event::relation::relation_of;

/// How many events are fetched in one go from before the timeline, and into a gap. Where a gap is no larger, no other
/// server has to be asked for a state.
const LIMIT: usize = 100;
const LIMIT_IN_GAP: usize = 1_000;
/// How long somebody who pages into a gap is kept waiting: clients give up after about a minute.
const FILL_PATIENCE: Duration = Duration::from_secs(20);
/// How long a gap is left alone that nobody fills: whoever pages over it is not kept waiting each time.
const UNFILLED_PAUSE: Duration = Duration::from_secs(60);
/// How many servers are asked.
const SERVERS: usize = 3;
/// How many events are judged and written while others wait to send to the room.
const PLACED_AT_ONCE: usize = 50;
/// How many of the oldest events are looked at for what came before them.
const OLDEST: u64 = 20;

/// What has come of filling a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Events that were missing are there.
    Some,
    /// Nobody gives any.
    Nothing,
    /// They are still being fetched, or have been and wait for the states before some of them.
    NotYet,
}

/// Where events are missing from a timeline.
#[derive(Clone, Copy)]
enum Hole {
    /// Before its first event: this server was not in the room then.
    Start,
    /// In a gap.
    Gap(Gap),
}

impl Hole {
    fn number(self) -> EventNid {
        match self {
            Self::Start => START,
            Self::Gap(gap) => gap.gap_nid,
        }
    }
}

/// The events after a hole whose prev events may be missing, each with its number, and the position before which what
/// is fetched gets its place.
struct Edge {
    events: Vec<(EventNid, Pdu)>,
    before: Position,
}

/// Events that were fetched, and what is still missing once they have their places.
struct PastEvents {
    hole: Hole,
    /// Prev events first.
    pdus: Vec<Pdu>,
    told: ToldStates,
    /// Whether the state before one of them is not known. Those that follow would get places before others that come
    /// before them: all wait for their places.
    lacks_states: bool,
    edge: Vec<(EventNid, Pdu)>,
    /// Missing events that belong to an older gap.
    older: HashSet<EventId>,
}

impl PastEvents {
    /// No events: only what is missing is noted anew.
    fn none(hole: Hole, edge: Vec<(EventNid, Pdu)>, older: HashSet<EventId>) -> Self {
        Self { hole, pdus: Vec::new(), told: ToldStates::new(), lacks_states: false, edge, older }
    }
}

impl PduReceiver {
    /// Fetches events from before the oldest of the timeline, once all of the room's state is here;
    /// [`Filled::Nothing`] also when there is nothing more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backfill(&self, room: &Arc<Room>) -> Result<Filled, ReceiveError> {
        self.fetch_past(room, Hole::Start).await
    }

    /// Fetches events that are missing from a gap of the timeline, the newest first, once all of the room's state is
    /// here.
    ///
    /// # Errors
    /// When the database fails.
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for other machines")]
    pub async fn fill_gap(&self, room: &Arc<Room>, gap_nid: EventNid) -> Result<Filled, ReceiveError> {
        let Some(gap) = room.view().gaps.get(gap_nid) else { return Ok(Filled::Some) };
        let (receiver, room) = (self.clone(), Arc::clone(room));
        // It goes on when whoever pages there does not wait any longer.
        let background = self.rooms.background.clone();
        let filling = background
            .spawn_abortable("filling of a gap", async move { receiver.fetch_past(&room, Hole::Gap(gap)).await });
        match tokio::time::timeout(FILL_PATIENCE, filling).await {
            Ok(Ok(filled)) => filled,
            Ok(Err(_)) => Err(DbError::Closed.into()),
            Err(_) => Ok(Filled::NotYet),
        }
    }

    async fn fetch_past(&self, room: &Arc<Room>, hole: Hole) -> Result<Filled, ReceiveError> {
        if self.rooms.full_state(room).await.is_err() {
            return Ok(Filled::Nothing);
        }
        let before = self.edge(room, hole).await?.before;
        let mut unfilled = room.backfilling.lock().await;
        let now = self.rooms.clock.monotonic();
        unfilled.retain(|_, until| *until > now);
        if unfilled.contains_key(&hole.number()) {
            return Ok(Filled::Nothing);
        }
        if let Hole::Gap(gap) = hole
            && room.view().gaps.get(gap.gap_nid) != Some(gap)
        {
            return Ok(Filled::Some);
        }
        let edge = self.edge(room, hole).await?;
        if edge.before != before {
            return Ok(Filled::Some);
        }
        let pdus: Vec<Pdu> = edge.events.iter().map(|(_, pdu)| pdu.clone()).collect();
        let unknown = self.unknown_prev_events(room.nid, &pdus).await?;
        let ends: Vec<Pdu> =
            pdus.into_iter().filter(|pdu| pdu.prev_events().iter().any(|id| unknown.contains(id))).collect();
        if ends.is_empty() {
            let Hole::Gap(_) = hole else { return Ok(Filled::Nothing) };
            // What was missing has come by another way.
            self.rooms.place_past(room, PastEvents::none(hole, edge.events, HashSet::new())).await?;
            return Ok(Filled::Some);
        }
        let effort = Effort::of_request();
        let mut comes_closer = false;
        for server in ways_back(&self.rooms, room, &ends) {
            match self.fetch_past_from((&server, &effort), room, hole, (&ends, edge.events.clone())).await? {
                Filled::Some => return Ok(Filled::Some),
                Filled::NotYet => comes_closer = true,
                Filled::Nothing => tracing::info!(room = %room.id, "{server} does not give what came before"),
            }
        }
        if comes_closer {
            return Ok(Filled::NotYet);
        }
        if let Hole::Gap(gap) = hole {
            unfilled.insert(gap.gap_nid, self.rooms.clock.monotonic() + UNFILLED_PAUSE);
        }
        Ok(Filled::Nothing)
    }

    /// The oldest events of the timeline, before its first gap, that can be read.
    pub(super) async fn oldest(&self, room: &Room) -> Result<Vec<Pdu>, DbError> {
        let (nid, version) = (room.nid, room.version);
        let rows = self.rooms.db.read(move |tx| before_first_gap(tx, nid)).await?;
        Ok(rows.iter().filter_map(|row| plexus_store::readable(stored_events::parse(row, version))).collect())
    }

    /// Fetches events that come before `ends` from a server.
    async fn fetch_past_from(
        &self,
        (server, effort): (&ServerName, &Effort),
        room: &Arc<Room>,
        hole: Hole,
        (ends, edge): (&[Pdu], Vec<(EventNid, Pdu)>),
    ) -> Result<Filled, ReceiveError> {
        let bounds = match hole {
            Hole::Start => Bounds { events: LIMIT, min_depth: None },
            Hole::Gap(gap) => {
                Bounds { events: LIMIT_IN_GAP, min_depth: Some(self.last_gap(room, gap.top).await?.depth) }
            }
        };
        let Fetched { events, older } = self.walk_back((server, &effort.half()), room, ends, bounds).await?;
        let all: Vec<Pdu> = ends.iter().chain(&events).cloned().collect();
        let missing = self.unknown_prev_events(room.nid, &all).await?;
        let judged = self.in_graph(room, &events).await?;
        let most_states = most_states(room.view().state.len());
        let cut = Cut { from: ends, is_placed: true, missing: &missing, judged: &judged, most_states };
        let pdus = cut.newest(events);
        if pdus.is_empty() {
            let is_older = missing.iter().all(|id| older.contains(id));
            if is_older {
                self.rooms.place_past(room, PastEvents::none(hole, edge, older)).await?;
            }
            return Ok(if is_older { Filled::Some } else { Filled::Nothing });
        }
        self.complete_auth_events(server, room, &pdus, effort).await?;
        let told = self.told_states(server, room, &pdus, effort, |_, _| None).await?;
        let unknown = self.unknown_prev_events(room.nid, &pdus).await?;
        let is_lacking = |pdu: &Pdu| {
            let (id, mut prev_events) = (pdu.event_id(), pdu.prev_events().iter());
            prev_events.any(|id| unknown.contains(id)) && !told.contains_key(id) && !judged.contains(id)
        };
        let lacks_states = pdus.iter().any(is_lacking);
        let (rooms, room) = (Arc::clone(&self.rooms), Arc::clone(room));
        // Whoever pages back may hang up: what has been begun comes to its end, in memory too.
        let past = PastEvents { hole, pdus, told, lacks_states, edge, older };
        let background = self.rooms.background.clone();
        let placing = background.spawn("storing of past events", async move { rooms.place_past(&room, past).await });
        placing.await.unwrap_or(Err(DbError::Closed.into()))
    }

    /// What is right after a hole, as far as it can be read.
    async fn edge(&self, room: &Room, hole: Hole) -> Result<Edge, DbError> {
        let (nid, version) = (room.nid, room.version);
        let read = self.rooms.db.read(move |tx| {
            let noted = repo::timeline_gaps::backward_extremities(tx, nid, hole.number())?;
            let mut rows = repo::events::by_nids(tx, &noted)?;
            let before = match hole {
                Hole::Gap(gap) => gap.lowest,
                Hole::Start => {
                    rows.extend(before_first_gap(tx, nid)?);
                    repo::events::lowest_position(tx, nid)?.min(0)
                }
            };
            Ok::<_, DbError>((rows, before))
        });
        let (mut rows, before) = read.await?;
        rows.sort_by_key(|row| row.event_nid);
        rows.dedup_by_key(|row| row.event_nid);
        let events = rows.iter().filter_map(|row| {
            let pdu = plexus_store::readable(stored_events::parse(row, version))?;
            Some((row.event_nid, pdu))
        });
        Ok(Edge { events: events.collect(), before })
    }
}

impl Rooms {
    /// Judges events by the state before each, and puts them into their hole, before what has been put there already.
    async fn place_past(&self, room: &Arc<Room>, past: PastEvents) -> Result<Filled, ReceiveError> {
        let _one_at_a_time = room.intake.lock().await;
        let mut judged = Judged::default();
        for pdus in past.pdus.chunks(PLACED_AT_ONCE) {
            self.judge_some(room, pdus, &past.told, &mut judged).await?;
        }
        if past.lacks_states {
            // Those that have been judged stay so: next time fewer states are asked for.
            return Ok(if judged.new > 0 { Filled::NotYet } else { Filled::Nothing });
        }
        self.settle_past(room, past).await?;
        Ok(if judged.new + judged.before > 0 { Filled::Some } else { Filled::Nothing })
    }

    /// Judges events and puts them into the graph, without positions.
    async fn judge_some(
        &self,
        room: &Arc<Room>,
        pdus: &[Pdu],
        told: &ToldStates,
        judged: &mut Judged,
    ) -> Result<(), ReceiveError> {
        // Held until the commit: nothing is on its way into the room that redacts one of the events or that one of them
        // redacts, and its state may hold what is redacted.
        let mut head = self.settled_head(room).await?;
        let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
        let known = self.known(&ids).await?;
        let mut auth_events = self.auth_events_of(room, pdus).await?;
        let mut unwritten = Unwritten::default();
        for pdu in pdus {
            let stored = known.get(pdu.event_id());
            if let Some(known) = stored.filter(|known| known.snapshot_nid.is_some() || known.room_nid != room.nid) {
                // All that it lacks may be a position.
                judged.before += usize::from(known.is_in_graph(room.nid) && !known.has_place(room.nid));
                continue;
            }
            let Some(by_auth_events) = outliers::by_auth_events(room.version, pdu, &auth_events) else { continue };
            if redaction_target(pdu).is_some() {
                // What it redacts is looked for in the database.
                self.write_past(room, &mut head, std::mem::take(&mut unwritten)).await?;
            }
            let candidate = Candidate {
                pdu,
                stored,
                by_auth_events,
                auth_events: &auth_events,
                unwritten: &unwritten.known,
                told: told.get(pdu.event_id()).map(|told| &told.state),
                missing: None,
                entering: false,
                partial: None,
                sending: Sending::No,
                transaction: None,
            };
            let past = match self.past(room, &head, &candidate).await {
                Ok(past) => past,
                Err(ReceiveError::MissingEvents) => continue,
                Err(error) => return Err(error),
            };
            judged.new += 1;
            let rejected = past.verdict == Verdict::Rejected;
            auth_events.insert(pdu.event_id().clone(), AuthEvent { pdu: pdu.clone(), rejected });
            let is_needed = past.is_needed_by_later_ones();
            unwritten.add(room.nid, past);
            if is_needed {
                self.write_past(room, &mut head, std::mem::take(&mut unwritten)).await?;
            }
        }
        self.write_past(room, &mut head, unwritten).await
    }

    /// Gives events their places in the timeline, the last of them the newest, and notes what is still missing.
    async fn settle_past(&self, room: &Arc<Room>, past: PastEvents) -> Result<(), ReceiveError> {
        let PastEvents { hole, pdus, told: _, lacks_states: _, edge, older } = past;
        let (mut still_missing, mut moved) = (Vec::new(), Vec::new());
        let looked_at: Vec<Pdu> = edge.iter().map(|(_, pdu)| pdu.clone()).chain(pdus.iter().cloned()).collect();
        let named: Vec<EventId> = looked_at.iter().flat_map(Pdu::prev_events).cloned().collect();
        let ids: Vec<EventId> = looked_at.iter().map(|pdu| pdu.event_id().clone()).collect();
        let (named, own) = (self.known(&named).await?, self.known(&ids).await?);
        let fetched: HashSet<&EventId> = pdus.iter().map(Pdu::event_id).collect();
        let is_placed = |id| {
            // Those that were fetched get their positions now.
            let is_placed =
                |known: &Known| known.has_place(room.nid) || (fetched.contains(id) && known.is_in_graph(room.nid));
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
        let done: Vec<EventNid> = edge.iter().map(|(nid, _)| *nid).filter(|nid| !still_missing.contains(nid)).collect();
        let keys: Vec<Vec<u8>> = pdus.iter().map(|pdu| event_key::encode(pdu.event_id())).collect();
        let older_gap = match hole {
            Hole::Gap(gap) => room.view().gaps.newest_open(gap.top).map_or(START, |gap| gap.gap_nid),
            Hole::Start => START,
        };
        let (nid, writing) = (room.nid, Arc::clone(room));
        // Held until the commit: no event is on its way that is to be noted with the gap, which may be closed now.
        let _settled = self.settled_head(room).await?;
        self.db
            .write(move |tx| {
                let lowest = order_past(tx, nid, hole, &keys)?;
                repo::timeline_gaps::remove_backward_extremities(tx, hole.number(), &done)?;
                repo::timeline_gaps::add_backward_extremities(tx, nid, hole.number(), &still_missing)?;
                repo::timeline_gaps::add_backward_extremities(tx, nid, older_gap, &moved)?;
                if let Hole::Gap(gap) = hole {
                    let gap = Gap { lowest, ..gap };
                    let is_missing = !repo::timeline_gaps::backward_extremities(tx, nid, gap.gap_nid)?.is_empty();
                    // One without a free position stays as it is.
                    let gap = Gap { is_open: is_missing && !gap.is_full(), ..gap };
                    repo::timeline_gaps::set(tx, nid, &gap)?;
                    tx.after_commit(move || {
                        let view = writing.view();
                        writing.set_view(RoomView { gaps: view.gaps.with(gap), ..RoomView::clone(&view) });
                    });
                }
                Ok::<_, DbError>(())
            })
            .await?;
        Ok(())
    }

    async fn past(&self, room: &Arc<Room>, head: &Head, candidate: &Candidate<'_>) -> Result<Past, ReceiveError> {
        let pdu = candidate.pdu;
        let before = self.before(room, head, candidate).await?;
        let state = self.auth_state(room.version, &before.at.state, pdu).await?;
        let allowed = auth::check(room.version.rules(), pdu, &state.lookup()).is_ok();
        let verdict = match candidate.by_auth_events {
            Verdict::Accepted if allowed => Verdict::Accepted,
            _ => Verdict::Rejected,
        };
        let nid = match candidate.stored {
            Some(known) => known.event_nid,
            None => self.nids.take(2).await?,
        };
        let redacted_by = self.early_redaction(room, pdu).await?;
        let redacts = self.redaction_target(room, &before.at, pdu).await?.filter(|_| verdict == Verdict::Accepted);
        let snapshot_nid = before.at.snapshot.nid;
        let snapshots = behind(nid, pdu, verdict, before).new;
        let stored = candidate.stored.is_some();
        Ok(Past { nid, stored, pdu: pdu.clone(), verdict, snapshot_nid, snapshots, redacted_by, redacts })
    }

    async fn write_past(&self, room: &Arc<Room>, head: &mut Head, unwritten: Unwritten) -> Result<(), ReceiveError> {
        let past = unwritten.past;
        if past.is_empty() {
            return Ok(());
        }
        let (nid, shared) = (room.nid, Arc::clone(&self.shared));
        let redactions: Vec<_> = past.iter().flat_map(Past::redactions).collect();
        if redactions.is_empty() {
            let write = self.db.write(move |tx| {
                let texts = write(tx, nid, &past, shared.interner.lookups())?;
                tx.after_commit(move || shared.interner.keep(texts));
                Ok::<_, DbError>(())
            });
            return Ok(write.await?);
        }
        let mut current = Arc::clone(&head.current);
        let (version, server_name) = (room.version, self.server_name.as_str());
        let pending: Vec<_> = redactions
            .into_iter()
            .map(|(target, because)| (PendingRedaction::new(target, &mut current, version, server_name), because))
            .collect();
        let ended = head.current.guests_can_join && !current.guests_can_join && !current.local_joined.is_empty();
        let guest_access_ended = ended.then(|| room.view().position);
        let (now_ms, writing, next) = (self.clock.now_ms(), Arc::clone(room), Arc::clone(&current));
        self.db
            .write(move |tx| {
                let texts = write(tx, nid, &past, shared.interner.lookups())?;
                for (redaction, because) in &pending {
                    repo::events::set_redacted(tx, redaction.target.nid, because.nid)?;
                    repo::redactions::add(tx, &[redaction.target.nid], now_ms)?;
                }
                if let Some(position) = guest_access_ended {
                    repo::guest_access::ended(tx, nid, position)?;
                }
                tx.after_commit(move || {
                    shared.interner.keep(texts);
                    let applied = pending.iter().map(|(redaction, because)| AppliedRedaction {
                        target: redaction.target.nid,
                        left: &redaction.target.left,
                        because,
                    });
                    apply_redactions(&shared, &writing, next, applied);
                });
                Ok::<_, DbError>(())
            })
            .await?;
        head.current = current;
        self.summaries.forget(nid);
        Ok(())
    }
}

/// The oldest events of a timeline, as far as its first gap: what is missing after that belongs into the gap.
fn before_first_gap(tx: &mut Tx<'_>, room: RoomNid) -> Result<Vec<StoredEvent>, DbError> {
    let mut oldest = repo::events::oldest(tx, room, Position::MIN, Position::MAX, OLDEST)?;
    // Read last: a gap may be committed in between, with the event after it.
    if let Some(gap) = repo::timeline_gaps::of_room(tx, room)?.first() {
        oldest.retain(|event| event.position.is_some_and(|position| position <= gap.floor()));
    }
    Ok(oldest)
}

/// Gives those of the events that have been placed positions before what is in the hole already; the last is the
/// newest. Returns the lowest position that is taken.
fn order_past(tx: &mut Tx<'_>, room: RoomNid, hole: Hole, keys: &[Vec<u8>]) -> Result<Position, DbError> {
    let known = repo::events::known(tx, keys)?;
    let unplaced: HashMap<Vec<u8>, EventNid> = known
        .into_iter()
        .filter(|known| known.position.is_none() && known.verdict == Verdict::Accepted)
        .filter(|known| known.room_nid == room && known.snapshot_nid.is_some())
        .map(|known| (known.event_id, known.event_nid))
        .collect();
    let (before, floor) = match hole {
        Hole::Start => (repo::events::lowest_position(tx, room)?.min(0), Position::MIN),
        Hole::Gap(gap) => (gap.lowest, gap.floor()),
    };
    let newest_first = keys.iter().rev().filter_map(|key| unplaced.get(key).copied());
    let positions: Vec<(EventNid, Position)> =
        newest_first.zip(1..).map(|(event, back)| (event, before - back)).filter(|(_, at)| *at > floor).collect();
    repo::events::set_past_positions(tx, &positions)?;
    Ok(positions.last().map_or(before, |(_, at)| *at))
}

/// The servers to ask: those of who sent the oldest events, then others in the room.
pub(super) fn ways_back(rooms: &Rooms, room: &Room, oldest: &[Pdu]) -> Vec<ServerName> {
    let view = room.view();
    let senders = oldest.iter().map(|pdu| pdu.sender().server_name());
    let of_room = room.id.server_name();
    let mut seen = HashSet::new();
    senders
        .chain(of_room)
        .filter(|name| view.servers.contains(name))
        .chain(view.servers.names())
        .filter(|name| *name != rooms.server_name.as_str() && seen.insert(name.to_string()))
        .filter_map(|name| ServerName::try_from(name).ok())
        .take(SERVERS)
        .collect()
}

/// Stores judged events without positions.
fn write(tx: &mut Tx<'_>, room: RoomNid, past: &[Past], mut lookups: Lookups<'_>) -> Result<NewTexts, DbError> {
    let mut snapshots = state_snapshots::Writer::default();
    let (mut new, mut stored, mut early_redactions, mut relations) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for past in past {
        if past.stored {
            stored.push(row(tx, room, past, &mut lookups)?);
        } else {
            new.push(row(tx, room, past, &mut lookups)?);
        }
        for snapshot in &past.snapshots {
            let mut changes = Vec::with_capacity(snapshot.changes.len());
            for (event_type, state_key, event) in &snapshot.changes {
                changes.push(((lookups.event_type(tx, event_type)?, lookups.state_key(tx, state_key)?), *event));
            }
            snapshots.add(tx, room, snapshot.parent, snapshot.snapshot, changes)?;
        }
        if past.verdict != Verdict::Accepted {
            continue;
        }
        if past.redacts.as_ref().is_none_or(|target| !target.placed)
            && let Some(target) = redaction_target(&past.pdu)
        {
            early_redactions.push((event_key::encode(target), past.nid));
        }
        if let Some((target, rel_type)) = relation_of(&past.pdu) {
            let (target, rel_type) = (event_key::encode(&target), rel_type.to_owned());
            let sender_nid = lookups.user(tx, past.pdu.sender())?;
            let (event_nid, room_nid, position) = (past.nid, room, None);
            relations.push(RelationRow { event_nid, room_nid, sender_nid, position, target, rel_type });
        }
    }
    repo::events::insert(tx, &new)?;
    repo::events::place(tx, &stored)?;
    snapshots.finish(tx)?;
    repo::redactions::add_early(tx, &early_redactions)?;
    repo::relations::insert(tx, &relations)?;
    Ok(lookups.into_new())
}

fn row(tx: &mut Tx<'_>, room: RoomNid, past: &Past, lookups: &mut Lookups<'_>) -> Result<NewEvent, DbError> {
    let pdu = &past.pdu;
    Ok(NewEvent {
        event_nid: past.nid,
        event_id: event_key::encode(pdu.event_id()),
        room_nid: room,
        position: None,
        late: false,
        depth: depth(pdu),
        type_nid: lookups.event_type(tx, pdu.event_type())?,
        state_key_nid: pdu.state_key().map(|key| lookups.state_key(tx, key)).transpose()?,
        sender_nid: lookups.user(tx, pdu.sender())?,
        origin_server_ts: i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX),
        snapshot_nid: Some(past.snapshot_nid),
        verdict: past.verdict,
        json: if past.stored { Vec::new() } else { pdu_json::pack(pdu.json())? },
    })
}

fn depth(pdu: &Pdu) -> i64 {
    i64::try_from(pdu.depth()).unwrap_or(i64::MAX)
}
