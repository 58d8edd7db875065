//! Reads the timeline and the state of a room, from memory as far as possible.
//!
//! A timeline is ordered by position. A token stands for the point after the event at its position: reading backward
//! from `p` begins with the event at `p`, reading forward with the event after it.

mod stay;
mod visibility;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx, repo};

use crate::model::event_lookup::event_of_room;
use crate::model::room::Room;
use crate::model::state_map::StateEntry;
use crate::model::stored_events;
use crate::model::timeline_event::TimelineEvent;

pub use crate::model::direction::Direction;
pub use crate::model::gaps::Gaps;
pub use stay::{Stay, current_stay};
pub use visibility::is_erased;
pub use visibility::{
    Access, VisibleEvent, access, member_until, rooms_joined_before, state_for, state_position, visible, without_erased,
};
pub(crate) use visibility::{EventPosition, ReaderVisibility};

/// The number of events of one query.
const EVENTS_PER_READ: usize = 2_000;
/// The maximum number of events after the nearest one that are looked at for one that clients see.
const MAX_LOOKED_AT: usize = 100;

/// Returns timeline events with `after < position <= upto`: backward, the newest `limit`, newest first; forward, the
/// oldest `limit`, oldest first. Unreadable events are skipped.
///
/// # Errors
/// When the database fails; the same for the other functions.
pub async fn range(
    room: &Room,
    after: Position,
    upto: Position,
    limit: usize,
    direction: Direction,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    if after >= upto || limit == 0 {
        return Ok(Vec::new());
    }
    let view = room.view();
    let within = |event: &&Arc<TimelineEvent>| event.position > after && event.position <= upto;
    let (nid, version) = (room.nid, room.version);
    let limit_rows = u64::try_from(limit).unwrap_or(u64::MAX);
    match direction {
        Direction::Backward => {
            let mut found: Vec<_> = view.recent.iter().rev().filter(within).take(limit).cloned().collect();
            let missing = limit_rows - u64::try_from(found.len()).unwrap_or(limit_rows);
            if missing > 0 && after < view.recent_after {
                let upto = upto.min(view.recent_after);
                let older = room.db.read(move |tx| older(tx, (nid, version), (after, upto), missing));
                found.extend(older.await?);
            }
            Ok(found)
        }
        Direction::Forward if after >= view.recent_after => {
            Ok(view.recent.iter().filter(within).take(limit).cloned().collect())
        }
        Direction::Forward => room.db.read(move |tx| newer(tx, (nid, version), (after, upto), limit_rows)).await,
    }
}

/// Reads the newest `limit` readable events, newest first. Fewer are returned only if there are no more.
fn older(
    tx: &mut Tx<'_>,
    (room, version): (RoomNid, RoomVersion),
    (after, mut upto): (Position, Position),
    limit: u64,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let mut found = Vec::new();
    loop {
        let missing = limit - found.len() as u64;
        let rows = repo::events::newest(tx, room, after, upto, missing)?;
        let (count, last) = (rows.len() as u64, rows.last().and_then(|row| row.position));
        found.extend(stored_events::hydrate(tx, version, rows)?);
        match last {
            Some(last) if count == missing && (found.len() as u64) < limit => upto = last - 1,
            _ => return Ok(found),
        }
    }
}

/// Reads the oldest `limit` readable events, oldest first. Fewer are returned only if there are no more.
fn newer(
    tx: &mut Tx<'_>,
    (room, version): (RoomNid, RoomVersion),
    (mut after, upto): (Position, Position),
    limit: u64,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let mut found = Vec::new();
    loop {
        let missing = limit - found.len() as u64;
        let rows = repo::events::oldest(tx, room, after, upto, missing)?;
        let (count, last) = (rows.len() as u64, rows.last().and_then(|row| row.position));
        found.extend(stored_events::hydrate(tx, version, rows)?);
        match last {
            Some(last) if count == missing && (found.len() as u64) < limit => after = last,
            _ => return Ok(found),
        }
    }
}

/// Returns the state events that changed the current state at `after < position <= upto`: the last of each key, in
/// order of position.
pub async fn state_delta(room: &Room, after: Position, upto: Position) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let view = room.view();
    if after >= view.position.min(upto) {
        return Ok(Vec::new());
    }
    if after >= view.recent_after && !view.was_resolved_since(after) {
        let mut changed: Vec<Arc<TimelineEvent>> = Vec::new();
        let key = |event: &TimelineEvent| Some((event.pdu.event_type().to_owned(), event.pdu.state_key()?.to_owned()));
        for event in view.recent.iter().filter(|event| event.position > after && event.position <= upto) {
            if let Some(own) = key(event) {
                changed.retain(|other| key(other).as_ref() != Some(&own));
                changed.push(Arc::clone(event));
            }
        }
        return Ok(changed);
    }
    let (nid, version) = (room.nid, room.version);
    let mut events = room
        .db
        .read(move |tx| {
            let nids = repo::current_state::changed(tx, nid, after, upto)?;
            stored_events::by_nids(tx, version, &nids)
        })
        .await?;
    events.sort_by_key(|event| event.position);
    Ok(events)
}

/// Returns the state at a position, in no particular order.
pub async fn state_at(room: &Room, position: Position) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    if position >= room.view().position {
        return current_state(room).await;
    }
    let (nid, version) = (room.nid, room.version);
    room.db
        .read(move |tx| {
            let nids = repo::current_state::at(tx, nid, position)?;
            stored_events::by_nids(tx, version, &nids)
        })
        .await
}

/// Returns the event of a type and state key in the state at a position.
pub async fn state_event_at(
    room: &Room,
    position: Position,
    event_type: &str,
    state_key: &str,
) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    if position >= room.view().position {
        let view = room.view();
        return match view.state.get(event_type, state_key) {
            Some(entry) => room.readable_state_event(entry).await,
            None => Ok(None),
        };
    }
    let (nid, version) = (room.nid, room.version);
    let (event_type, state_key) = (event_type.to_owned(), state_key.to_owned());
    room.db
        .read(move |tx| {
            let history = repo::current_state::history(tx, nid, &event_type, &state_key)?;
            match history.iter().rev().find(|(at, _)| *at <= position) {
                Some((_, event)) => Ok(stored_events::by_nids(tx, version, &[*event])?.pop()),
                None => Ok(None),
            }
        })
        .await
}

/// Returns the member events of a user that changed the current state at `after < position <= upto`, in no particular
/// order.
pub async fn member_changes(
    room: &Room,
    user: &UserId,
    after: Position,
    upto: Position,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let (nid, version, user) = (room.nid, room.version, user.to_string());
    room.db
        .read(move |tx| {
            let history = repo::current_state::history(tx, nid, "m.room.member", &user)?;
            let within = history.into_iter().filter(|(at, _)| *at > after && *at <= upto);
            let nids: Vec<EventNid> = within.map(|(_, event)| event).collect();
            stored_events::by_nids(tx, version, &nids)
        })
        .await
}

/// Returns the member events of users in the state at a position.
pub async fn members_at(
    room: &Room,
    position: Position,
    users: Vec<String>,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let view = room.view();
    if position >= view.position {
        let entries: Vec<_> = users.iter().filter_map(|user| view.state.get("m.room.member", user).cloned()).collect();
        return state_events(room, &entries).await;
    }
    let (nid, version) = (room.nid, room.version);
    room.db
        .read(move |tx| {
            let mut nids = Vec::with_capacity(users.len());
            for user in users {
                let history = repo::current_state::history(tx, nid, "m.room.member", &user)?;
                nids.extend(history.iter().rev().find(|(at, _)| *at <= position).map(|(_, event)| *event));
            }
            stored_events::by_nids(tx, version, &nids)
        })
        .await
}

/// Returns all events of the current state, in order of type and state key.
pub async fn current_state(room: &Room) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let view = room.view();
    let entries: Vec<Arc<StateEntry>> = view.state.iter().cloned().collect();
    state_events(room, &entries).await
}

/// Returns the events of state entries, in their order. Events that are not in memory are read together; unreadable
/// events are left out.
pub async fn state_events(room: &Room, entries: &[Arc<StateEntry>]) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let in_memory: Vec<_> = entries.iter().map(|entry| room.state_event_in_memory(entry)).collect();
    let missing: Vec<EventNid> =
        entries.iter().zip(&in_memory).filter(|(_, event)| event.is_none()).map(|(entry, _)| entry.nid).collect();
    let (db, version) = (&room.db, room.version);
    let reads = missing.chunks(EVENTS_PER_READ).map(|nids| {
        let nids = nids.to_vec();
        db.read(move |tx| stored_events::by_nids(tx, version, &nids))
    });
    let read = try_join_all(reads).await?.into_iter().flatten().map(|event| (event.nid, event));
    let mut read: HashMap<EventNid, Arc<TimelineEvent>> = read.collect();
    for entry in entries.iter().zip(&in_memory).filter(|(_, event)| event.is_none()).map(|(entry, _)| entry) {
        // An unreadable member event is returned as redacted.
        if entry.membership.is_some() && !read.contains_key(&entry.nid) {
            read.extend(room.readable_state_event(entry).await?.map(|event| (event.nid, event)));
        }
    }
    // Not cached: reading a large room once must not evict other events.
    let events = entries.iter().zip(in_memory).filter_map(|(entry, event)| event.or_else(|| read.remove(&entry.nid)));
    Ok(events.collect())
}

/// Returns a timeline event by id; `None` if the room's timeline has no such event.
pub async fn event(room: &Room, event_id: &EventId) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    Ok(event_of_room(room, event_id).await?.filter(|event| event.position != 0))
}

/// Returns timeline events by number, in no particular order. Unknown numbers are ignored.
pub async fn by_nids(room: &Room, mut nids: Vec<EventNid>) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let view = room.view();
    let mut found: Vec<_> = view.recent.iter().filter(|event| nids.contains(&event.nid)).cloned().collect();
    nids.retain(|nid| found.iter().all(|event| event.nid != *nid));
    if !nids.is_empty() {
        let version = room.version;
        found.extend(room.db.read(move |tx| stored_events::by_nids(tx, version, &nids)).await?);
    }
    Ok(found)
}

/// Returns the timeline event nearest to a time (Unix ms) in a direction. Events that clients never see do not count.
pub async fn event_near(room: &Room, ts: u64, direction: Direction) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    let (nid, version) = (room.nid, room.version);
    let ts = i64::try_from(ts).unwrap_or(i64::MAX);
    let nearest = room
        .db
        .read(move |tx| match repo::events::near_time(tx, nid, ts, direction == Direction::Forward)? {
            Some(event) => Ok(stored_events::by_nids(tx, version, &[event])?.pop()),
            None => Ok::<_, DbError>(None),
        })
        .await?;
    let Some(dummy) = nearest.as_ref().filter(|event| event.is_dummy()) else { return Ok(nearest) };
    let (after, upto) = match direction {
        Direction::Forward => (dummy.position, room.view().position),
        Direction::Backward => (Position::MIN, dummy.position - 1),
    };
    let beyond = range(room, after, upto, MAX_LOOKED_AT, direction).await?;
    Ok(beyond.into_iter().find(|event| !event.is_dummy()))
}
