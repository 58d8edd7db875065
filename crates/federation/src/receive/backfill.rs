//! What a room held before this server came into it, or while it was away for long, fetched when somebody pages back
//! that far (server-server API, "Backfilling and retrieving missing events").

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::model::stored_events;
use plexus_rooms::write::past::{self, Filled, Hole, PastEvents};
use plexus_store::repo::events::StoredEvent;
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx, repo};

use super::deadline::most_states;
use super::walk_back::{Bounds, Cut, Fetched};
use super::{Deadline, PduReceiver, ReceiveError};

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
/// How many of the oldest events are looked at for what came before them.
const OLDEST: u64 = 20;

/// The events after a hole whose prev events may be missing, each with its number, and the position before which what
/// is fetched gets its place.
struct Edge {
    events: Vec<(EventNid, Pdu)>,
    before: Position,
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
        let background = self.writer.background.clone();
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
        let now = self.writer.clock.monotonic();
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
            past::add(&self.writer, room, PastEvents::none(hole, edge.events, HashSet::new())).await?;
            return Ok(Filled::Some);
        }
        let deadline = Deadline::of_request(&self.writer.clock);
        let mut comes_closer = false;
        for server in ways_back(&self.rooms, room, &ends) {
            match self.fetch_past_from((&server, &deadline), room, hole, (&ends, edge.events.clone())).await? {
                Filled::Some => return Ok(Filled::Some),
                Filled::NotYet => comes_closer = true,
                Filled::Nothing => tracing::info!(room = %room.id, "{server} does not give what came before"),
            }
        }
        if comes_closer {
            return Ok(Filled::NotYet);
        }
        if let Hole::Gap(gap) = hole {
            unfilled.insert(gap.gap_nid, self.writer.clock.monotonic() + UNFILLED_PAUSE);
        }
        Ok(Filled::Nothing)
    }

    /// The oldest events of the timeline, before its first gap, that can be read.
    pub(super) async fn oldest(&self, room: &Room) -> Result<Vec<Pdu>, DbError> {
        let (nid, version) = (room.nid, room.version);
        let rows = self.writer.db.read(move |tx| before_first_gap(tx, nid)).await?;
        Ok(rows.iter().filter_map(|row| plexus_store::readable(stored_events::parse(row, version))).collect())
    }

    /// Fetches events that come before `ends` from a server.
    async fn fetch_past_from(
        &self,
        (server, deadline): (&ServerName, &Deadline),
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
        let Fetched { events, older } = self.walk_back((server, &deadline.half()), room, ends, bounds).await?;
        let all: Vec<Pdu> = ends.iter().chain(&events).cloned().collect();
        let missing = self.unknown_prev_events(room.nid, &all).await?;
        let judged = self.in_graph(room, &events).await?;
        let most_states = most_states(room.view().state.len());
        let cut = Cut { from: ends, is_placed: true, missing: &missing, judged: &judged, most_states };
        let pdus = cut.newest(events);
        if pdus.is_empty() {
            let is_older = missing.iter().all(|id| older.contains(id));
            if is_older {
                past::add(&self.writer, room, PastEvents::none(hole, edge, older)).await?;
            }
            return Ok(if is_older { Filled::Some } else { Filled::Nothing });
        }
        self.complete_auth_events(server, room, &pdus, deadline).await?;
        let told = self.told_states(server, room, &pdus, deadline, |_, _| None).await?;
        let unknown = self.unknown_prev_events(room.nid, &pdus).await?;
        let is_lacking = |pdu: &Pdu| {
            let (id, mut prev_events) = (pdu.event_id(), pdu.prev_events().iter());
            prev_events.any(|id| unknown.contains(id)) && !told.contains_key(id) && !judged.contains(id)
        };
        let lacks_states = pdus.iter().any(is_lacking);
        let (writer, room) = (Arc::clone(&self.writer), Arc::clone(room));
        // Whoever pages back may hang up: what has been begun comes to its end, in memory too.
        let past = PastEvents { hole, pdus, given: told, lacks_states, edge, older };
        let background = self.writer.background.clone();
        let placing = background.spawn("storing of past events", async move { past::add(&writer, &room, past).await });
        Ok(placing.await.unwrap_or(Err(DbError::Closed.into()))?)
    }

    /// What is right after a hole, as far as it can be read.
    async fn edge(&self, room: &Room, hole: Hole) -> Result<Edge, DbError> {
        let (nid, version) = (room.nid, room.version);
        let read = self.writer.db.read(move |tx| {
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

/// The oldest events of a timeline, as far as its first gap: what is missing after that belongs into the gap.
fn before_first_gap(tx: &mut Tx<'_>, room: RoomNid) -> Result<Vec<StoredEvent>, DbError> {
    let mut oldest = repo::events::oldest(tx, room, Position::MIN, Position::MAX, OLDEST)?;
    // Read last: a gap may be committed in between, with the event after it.
    if let Some(gap) = repo::timeline_gaps::of_room(tx, room)?.first() {
        oldest.retain(|event| event.position.is_some_and(|position| position <= gap.floor()));
    }
    Ok(oldest)
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
