//! Serves single events, and events before others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::id::{EventId, RoomId, ServerName};
use plexus_rooms::model::direction::Direction;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::model::timeline_event::TimelineEvent;
use plexus_rooms::read::timeline;
use plexus_store::{DbError, EventNid, Tx, event_key, repo};

use super::ServeError;
use super::admission::{admit_member, room_for_member};
use super::events::{FoundEvent, by_ids};
use super::visibility::VisibilityFilter;
use crate::peers::MissingEventsRequest;

/// How many events one `/backfill` returns.
pub const MAX_BACKFILL: usize = 100;
/// How many events one `/get_missing_events` returns.
pub const MAX_MISSING: usize = 20;
/// How many events a request may name.
const MAX_NAMED: usize = 100;

/// `GET /event/{eventId}`: the event's JSON.
pub async fn event(rooms: &Rooms, origin: &ServerName, event_id: &EventId) -> Result<String, ServeError> {
    let key = event_key::encode(event_id);
    let place = rooms.db.read(move |tx| repo::events::find(tx, &key)).await?.ok_or(ServeError::UnknownEvent)?;
    let room = rooms.get_nid(place.room_nid).await?.ok_or(ServeError::UnknownEvent)?;
    admit_member(&room, origin)?;
    let mut visibility = VisibilityFilter::new(Arc::clone(&room), origin);
    let wanted = [event_id.clone()];
    let json = rooms
        .db
        .read(move |tx| {
            let found = by_ids(tx, (room.nid, room.version), &wanted)?.pop();
            found.filter(|found| !found.is_rejected()).map(|found| visibility.json(tx, found)).transpose()
        })
        .await?;
    json.ok_or(ServeError::UnknownEvent)
}

/// `GET /backfill/{roomId}`: the events `from` and events before them, the deepest first; `limit` in all, at most
/// [`MAX_BACKFILL`].
pub async fn backfill(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
    from: Vec<EventId>,
    limit: usize,
) -> Result<Vec<String>, ServeError> {
    let room = room_for_member(rooms, origin, room).await?;
    let mut visibility = VisibilityFilter::new(Arc::clone(&room), origin);
    let json = rooms.db.read(move |tx| {
        let events = before_and(tx, &room, from, limit.min(MAX_BACKFILL))?;
        events.into_iter().map(|event| visibility.json(tx, event)).collect::<Result<Vec<_>, DbError>>()
    });
    Ok(json.await?)
}

/// `POST /get_missing_events/{roomId}`: the events between others, oldest first; at most [`MAX_MISSING`].
pub async fn missing_events(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
    query: MissingEventsRequest,
) -> Result<Vec<String>, ServeError> {
    let room = room_for_member(rooms, origin, room).await?;
    let mut visibility = VisibilityFilter::new(Arc::clone(&room), origin);
    let json = rooms.db.read(move |tx| {
        let events = between(tx, &room, query)?;
        events.into_iter().map(|event| visibility.json(tx, event)).collect::<Result<Vec<_>, DbError>>()
    });
    Ok(json.await?)
}

/// `GET /timestamp_to_event/{roomId}`: the timeline event nearest to a time (Unix ms).
pub async fn timestamp_to_event(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
    ts: u64,
    direction: Direction,
) -> Result<Arc<TimelineEvent>, ServeError> {
    let room = room_for_member(rooms, origin, room).await?;
    timeline::event_near(&room, ts, direction).await?.ok_or(ServeError::UnknownEvent)
}

/// Returns events and those before them, the deepest first. Every step reads the few prev events of one event.
fn before_and(tx: &mut Tx<'_>, room: &Room, mut from: Vec<EventId>, limit: usize) -> Result<Vec<FoundEvent>, DbError> {
    from.truncate(MAX_NAMED);
    let mut seen: HashSet<EventId> = from.iter().cloned().collect();
    let mut waiting: HashMap<EventNid, FoundEvent> = HashMap::new();
    let mut order: BinaryHeap<(u64, EventNid)> = BinaryHeap::new();
    let mut found = Vec::new();
    let mut next = from;
    for _ in 0..limit.saturating_mul(2) {
        for event in by_ids(tx, (room.nid, room.version), &next)?.into_iter().filter(FoundEvent::is_placed) {
            order.push((event.pdu.depth(), event.row.known.event_nid));
            waiting.insert(event.row.known.event_nid, event);
        }
        let Some(event) = order.pop().and_then(|(_, nid)| waiting.remove(&nid)) else { break };
        next = unseen(&mut seen, [&event]);
        if !event.is_rejected() {
            found.push(event);
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Returns ancestors of the latest events, searched breadth first until the earliest events; in order of depth.
fn between(tx: &mut Tx<'_>, room: &Room, query: MissingEventsRequest) -> Result<Vec<FoundEvent>, DbError> {
    let MissingEventsRequest { mut earliest, mut latest, limit, min_depth } = query;
    let limit = MAX_MISSING.min(limit as usize);
    earliest.truncate(MAX_NAMED);
    latest.truncate(MAX_NAMED);
    let mut seen: HashSet<EventId> = earliest.into_iter().collect();
    latest.retain(|id| seen.insert(id.clone()));
    let mut next = unseen(&mut seen, &by_ids(tx, (room.nid, room.version), &latest)?);
    let mut found: Vec<FoundEvent> = Vec::new();
    for _ in 0..limit.saturating_mul(2) {
        if next.is_empty() || found.len() >= limit {
            break;
        }
        let mut events = by_ids(tx, (room.nid, room.version), &next)?;
        events.retain(|event| event.is_placed() && event.pdu.depth() >= min_depth);
        next = unseen(&mut seen, &events);
        events.retain(|event| !event.is_rejected());
        events.sort_by_key(|event| Reverse(event.pdu.depth()));
        events.truncate(limit - found.len());
        found.append(&mut events);
    }
    found.sort_by_key(|event| (event.pdu.depth(), event.row.known.event_nid));
    Ok(found)
}

/// Returns the prev events of `events` that have not been seen yet, at most [`MAX_NAMED`].
fn unseen<'a>(seen: &mut HashSet<EventId>, events: impl IntoIterator<Item = &'a FoundEvent>) -> Vec<EventId> {
    let before = events.into_iter().flat_map(|event| event.pdu.prev_events());
    before.filter(|id| seen.insert(EventId::clone(id))).take(MAX_NAMED).cloned().collect()
}
