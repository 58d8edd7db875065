//! How far the index of searchable texts is.

use super::search_documents;
use crate::db::ToSql;
use crate::{Any, DbError, EventNid, Position, RoomNid, Tx, first};

/// Returns the position up to which the log is indexed; `None` while the index is not kept.
pub fn position(tx: &mut Tx<'_>) -> Result<Option<Position>, DbError> {
    tx.query_opt("SELECT position FROM search_progress WHERE id = 1 AND is_kept = 1", &[], first)
}

/// Records that all up to a position is indexed.
pub fn set_position(tx: &mut Tx<'_>, position: Position) -> Result<(), DbError> {
    tx.execute_later("UPDATE search_progress SET position = $1 WHERE id = 1 AND is_kept = 1", &[&position])?;
    Ok(())
}

/// Begins to keep the index, with what comes after a position.
pub fn keep(tx: &mut Tx<'_>, after: Position) -> Result<(), DbError> {
    tx.execute_later("UPDATE search_progress SET is_kept = 1, position = $1 WHERE id = 1", &[&after])?;
    Ok(())
}

/// Stops keeping the index.
pub fn abandon(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute_later("UPDATE search_progress SET is_kept = $1 WHERE id = 1", &[&false])?;
    tx.execute_later("DELETE FROM search_queue", &[])?;
    tx.execute_later("DELETE FROM search_forgotten_rooms", &[])?;
    Ok(())
}

/// Returns the rooms whose timelines have events after a position.
pub fn rooms_after(tx: &mut Tx<'_>, position: Position) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT room_nid FROM rooms WHERE position > $1 ORDER BY room_nid", &[&position], first)
}

/// Queues events that were added to the past of a room or have expired, if the index is kept.
pub(super) fn queue(tx: &mut Tx<'_>, events: impl IntoIterator<Item = EventNid>) -> Result<(), DbError> {
    if position(tx)?.is_none() {
        return Ok(());
    }
    let events: Vec<EventNid> = events.into_iter().collect();
    tx.insert_many_later(
        "INSERT INTO search_queue (event_nid) VALUES ($1) ON CONFLICT (event_nid) DO NOTHING",
        events.iter().map(|event| [event.to_param()]),
    )?;
    Ok(())
}

/// Returns some of the queued events.
pub fn queued(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<EventNid>, DbError> {
    tx.query("SELECT event_nid FROM search_queue ORDER BY event_nid LIMIT $1", &[&limit], first)
}

/// Removes events from the queue.
pub fn unqueue(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<(), DbError> {
    tx.insert_many_later(
        "DELETE FROM search_queue WHERE event_nid = $1",
        events.iter().map(|event| [event.to_param()]),
    )?;
    Ok(())
}

/// Records that a user has forgotten a room, if the index is kept: perhaps no user of this server remembers it.
pub(super) fn forget_room(tx: &mut Tx<'_>, room: RoomNid) -> Result<(), DbError> {
    if position(tx)?.is_some() {
        tx.execute_later(
            "INSERT INTO search_forgotten_rooms (room_nid, is_removed) VALUES ($1, 0)
             ON CONFLICT (room_nid) DO NOTHING",
            &[&room],
        )?;
    }
    Ok(())
}

/// Returns a room that a user has forgotten and that is still in the index, and whether another user of this server
/// remembers it: is in it, or was and has not forgotten it.
pub fn forgotten_room(tx: &mut Tx<'_>) -> Result<Option<(RoomNid, bool)>, DbError> {
    let room: Option<RoomNid> = tx.query_opt(
        "SELECT room_nid FROM search_forgotten_rooms WHERE is_removed = 0 ORDER BY room_nid LIMIT 1",
        &[],
        first,
    )?;
    room.map(|room| Ok((room, is_remembered(tx, room)?))).transpose()
}

fn is_remembered(tx: &mut Tx<'_>, room: RoomNid) -> Result<bool, DbError> {
    // CROSS: SQLite begins with this server's users. Of a room's members there is no index.
    let found: Option<i64> = tx.query_opt(
        "SELECT 1 FROM users u CROSS JOIN user_ids i CROSS JOIN memberships m
         WHERE i.user_id = u.user_id AND m.user_nid = i.user_nid AND m.room_nid = $1 AND m.forgotten = 0 LIMIT 1",
        &[&room],
        first,
    )?;
    Ok(found.is_some())
}

/// Records that a room is remembered.
pub fn remember_room(tx: &mut Tx<'_>, room: RoomNid) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM search_forgotten_rooms WHERE room_nid = $1", &[&room])?;
    Ok(())
}

/// Removes up to `limit` documents of a forgotten room; returns how many.
pub fn remove_forgotten(tx: &mut Tx<'_>, room: RoomNid, limit: u32) -> Result<usize, DbError> {
    let removed = search_documents::remove_of_room(tx, room, limit)?;
    if removed < limit as usize {
        tx.execute_later("UPDATE search_forgotten_rooms SET is_removed = 1 WHERE room_nid = $1", &[&room])?;
    }
    Ok(removed)
}

/// Returns those of the rooms that left the index, and that a user of this server has come back to, with their ids.
pub fn remembered_again(tx: &mut Tx<'_>, rooms: &[RoomNid]) -> Result<Vec<(RoomNid, String)>, DbError> {
    let mut back: Vec<(RoomNid, String)> = tx.query(
        "SELECT f.room_nid, r.room_id FROM search_forgotten_rooms f JOIN rooms r ON r.room_nid = f.room_nid
         WHERE f.room_nid = ANY($1)",
        &[&Any(rooms)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut failure = None;
    back.retain(|(room, _)| {
        is_remembered(tx, *room).unwrap_or_else(|error| {
            failure = Some(error);
            false
        })
    });
    failure.map_or(Ok(back), Err)
}
