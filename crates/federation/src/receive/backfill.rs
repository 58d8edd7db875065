//! Fetches events from before this server joined a room, or from a time when it was unreachable, when a user pages back
//! that far (<https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::model::stored_events;
use plexus_rooms::write::backfill::{self, BackfillOutcome, BackfillPlace, BackfilledEvents};
use plexus_store::repo::events::StoredEvent;
use plexus_store::{Database, DbError, EventNid, Position, RoomNid, Tx, repo};

use super::fetch_missing::last_gap;
use super::state_before::fetch_states;
use super::state_fetch_limits::max_states_per_batch;
use super::walk_back::{Bounds, Cut, Fetched, walk_back};
use super::{Deadline, PduReceiver, ReceiveError, RemoteSource, fetch_auth_events, lookup};

/// How many events are fetched at once from before the timeline, and into a gap. A gap that is no larger is filled
/// without requesting a state.
const MAX_EVENTS: usize = 100;
const MAX_EVENTS_IN_GAP: usize = 1_000;
/// How long a user who pages into a gap waits. Clients time out after about a minute.
const FILL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait before trying again to fill a gap that no server could fill, so that not every paging over it
/// waits.
const UNFILLED_PAUSE: Duration = Duration::from_secs(60);
/// How many servers are asked for events.
const MAX_SERVERS: usize = 3;
/// How many of the oldest events are examined for missing prev events.
const MAX_OLDEST: u64 = 20;

/// The backward extremities of a place: the events right after it, whose prev events may be missing.
struct BackwardExtremities {
    /// Each event with its number.
    events: Vec<(EventNid, Pdu)>,
    /// Fetched events get positions below this one.
    before: Position,
}

impl PduReceiver {
    /// Fetches events from before the oldest of the timeline, once all of the room's state is here;
    /// [`BackfillOutcome::NotFound`] also when there is nothing more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backfill(&self, room: &Arc<Room>) -> Result<BackfillOutcome, ReceiveError> {
        self.fetch_past(room, BackfillPlace::Start).await
    }

    /// Fetches events that are missing from a gap of the timeline, the newest first, once all of the room's state is
    /// here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill_gap(&self, room: &Arc<Room>, gap_nid: EventNid) -> Result<BackfillOutcome, ReceiveError> {
        let Some(gap) = room.view().gaps.get(gap_nid) else { return Ok(BackfillOutcome::Added) };
        let (receiver, room) = (self.clone(), Arc::clone(room));
        // It continues when the client stops waiting.
        let background = self.background.clone();
        let filling = background.spawn_abortable("filling of a gap", async move {
            receiver.fetch_past(&room, BackfillPlace::Gap(gap)).await
        });
        tokio::select! {
            biased;
            filled = filling => filled.unwrap_or(Err(DbError::Closed.into())),
            () = self.clock.sleep(FILL_TIMEOUT) => Ok(BackfillOutcome::Pending),
        }
    }

    async fn fetch_past(&self, room: &Arc<Room>, place: BackfillPlace) -> Result<BackfillOutcome, ReceiveError> {
        if self.rooms.full_state(room).await.is_err() {
            return Ok(BackfillOutcome::NotFound);
        }
        let db = &self.db;
        let before = backward_extremities(db, room, place).await?.before;
        let mut unfilled = room.backfilling.lock().await;
        let now = self.clock.monotonic();
        unfilled.retain(|_, until| *until > now);
        if unfilled.contains_key(&place.number()) {
            return Ok(BackfillOutcome::NotFound);
        }
        if let BackfillPlace::Gap(gap) = place
            && room.view().gaps.get(gap.gap_nid) != Some(gap)
        {
            return Ok(BackfillOutcome::Added);
        }
        let extremities = backward_extremities(db, room, place).await?;
        if extremities.before != before {
            return Ok(BackfillOutcome::Added);
        }
        let pdus: Vec<Pdu> = extremities.events.iter().map(|(_, pdu)| pdu.clone()).collect();
        let unknown = lookup::unknown_prev_events(db, room.nid, &pdus).await?;
        let ends: Vec<Pdu> =
            pdus.into_iter().filter(|pdu| pdu.prev_events().iter().any(|id| unknown.contains(id))).collect();
        if ends.is_empty() {
            let BackfillPlace::Gap(_) = place else { return Ok(BackfillOutcome::NotFound) };
            // The missing events have been received from elsewhere.
            backfill::add(&self.writer, room, BackfilledEvents::none(place, extremities.events, HashSet::new()))
                .await?;
            return Ok(BackfillOutcome::Added);
        }
        let deadline = Deadline::of_request(&self.clock);
        let mut is_partly_filled = false;
        for server in servers_to_ask(&self.rooms, room, &ends) {
            let source = RemoteSource { receiver: self, room, server: &server, deadline: &deadline };
            match fetch_past_from(&source, place, &ends, extremities.events.clone()).await? {
                BackfillOutcome::Added => return Ok(BackfillOutcome::Added),
                BackfillOutcome::Pending => is_partly_filled = true,
                BackfillOutcome::NotFound => tracing::info!(room = %room.id, "{server} returned no earlier events"),
            }
        }
        if is_partly_filled {
            return Ok(BackfillOutcome::Pending);
        }
        if let BackfillPlace::Gap(gap) = place {
            unfilled.insert(gap.gap_nid, self.clock.monotonic() + UNFILLED_PAUSE);
        }
        Ok(BackfillOutcome::NotFound)
    }
}

/// Returns the oldest events of the timeline, before its first gap. Events that cannot be read are left out.
pub(super) async fn oldest_events(db: &Database, room: &Room) -> Result<Vec<Pdu>, DbError> {
    let (nid, version) = (room.nid, room.version);
    let rows = db.read(move |tx| before_first_gap(tx, nid)).await?;
    Ok(rows.iter().filter_map(|row| plexus_store::readable(stored_events::parse(row, version))).collect())
}

/// Fetches events before `ends`, those of `extremities` whose prev events are missing.
async fn fetch_past_from(
    source: &RemoteSource<'_>,
    place: BackfillPlace,
    ends: &[Pdu],
    extremities: Vec<(EventNid, Pdu)>,
) -> Result<BackfillOutcome, ReceiveError> {
    let RemoteSource { receiver, room, .. } = *source;
    let writer = &receiver.writer;
    let db = &receiver.db;
    let bounds = match place {
        BackfillPlace::Start => Bounds { events: MAX_EVENTS, min_depth: None },
        BackfillPlace::Gap(gap) => {
            Bounds { events: MAX_EVENTS_IN_GAP, min_depth: Some(last_gap(db, room, gap.top).await?.depth) }
        }
    };
    let Fetched { events, older } = walk_back(source, ends, bounds).await?;
    let all: Vec<Pdu> = ends.iter().chain(&events).cloned().collect();
    let missing = lookup::unknown_prev_events(db, room.nid, &all).await?;
    let judged = lookup::in_graph(db, room.nid, &events).await?;
    let max_states = max_states_per_batch(room.view().state.len());
    let cut = Cut { from: ends, is_placed: true, missing: &missing, judged: &judged, max_states };
    let pdus = cut.newest(events);
    if pdus.is_empty() {
        let is_older = missing.iter().all(|id| older.contains(id));
        if is_older {
            backfill::add(writer, room, BackfilledEvents::none(place, extremities, older)).await?;
        }
        return Ok(if is_older { BackfillOutcome::Added } else { BackfillOutcome::NotFound });
    }
    fetch_auth_events(source, &pdus).await?;
    let given = fetch_states(source, &pdus, |_, _| None).await?;
    let unknown = lookup::unknown_prev_events(db, room.nid, &pdus).await?;
    let is_lacking = |pdu: &Pdu| {
        let (id, mut prev_events) = (pdu.event_id(), pdu.prev_events().iter());
        prev_events.any(|id| unknown.contains(id)) && !given.contains_key(id) && !judged.contains(id)
    };
    let lacks_states = pdus.iter().any(is_lacking);
    let (writer, room) = (Arc::clone(writer), Arc::clone(room));
    // It is completed even if the client disconnects.
    let past = BackfilledEvents { place, pdus, given, lacks_states, extremities, older };
    let placing =
        receiver.background.spawn("storing of past events", async move { backfill::add(&writer, &room, past).await });
    Ok(placing.await.unwrap_or(Err(DbError::Closed.into()))?)
}

/// Returns the events right after a place. Events that cannot be read are left out.
async fn backward_extremities(
    db: &Database,
    room: &Room,
    place: BackfillPlace,
) -> Result<BackwardExtremities, DbError> {
    let (nid, version) = (room.nid, room.version);
    let read = db.read(move |tx| {
        let noted = repo::timeline_gaps::backward_extremities(tx, nid, place.number())?;
        let mut rows = repo::events::by_nids(tx, &noted)?;
        let before = match place {
            BackfillPlace::Gap(gap) => gap.lowest,
            BackfillPlace::Start => {
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
    Ok(BackwardExtremities { events: events.collect(), before })
}

/// Returns the oldest events of a timeline, up to its first gap: events that are missing after it belong to the gap.
fn before_first_gap(tx: &mut Tx<'_>, room: RoomNid) -> Result<Vec<StoredEvent>, DbError> {
    let mut oldest = repo::events::oldest(tx, room, Position::MIN, Position::MAX, MAX_OLDEST)?;
    // Gaps are read last: one may be committed in between, with the event after it.
    if let Some(gap) = repo::timeline_gaps::of_room(tx, room)?.first() {
        oldest.retain(|event| event.position.is_some_and(|position| position <= gap.floor()));
    }
    Ok(oldest)
}

/// Returns the servers to ask for past events: the servers of the oldest events' senders, then others in the room.
pub(super) fn servers_to_ask(rooms: &Rooms, room: &Room, oldest: &[Pdu]) -> Vec<ServerName> {
    let view = room.view();
    let senders = oldest.iter().map(|pdu| pdu.sender().server_name());
    let of_room = room.id.server_name();
    let mut seen = HashSet::new();
    senders
        .chain(of_room)
        .filter(|name| view.servers.contains(name))
        .chain(view.servers.names())
        .filter(|name| *name != rooms.server_name().as_str() && seen.insert(name.to_string()))
        .filter_map(|name| ServerName::try_from(name).ok())
        .take(MAX_SERVERS)
        .collect()
}
