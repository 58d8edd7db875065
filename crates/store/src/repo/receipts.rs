//! Read receipts: the newest of each user, type and thread in a room.

use std::sync::Arc;

use plexus_protocol::id::UserId;

use super::bounds::{self, BoundError};
pub use crate::change::Receipt;
use crate::{Any, Change, DbError, Position, RoomNid, Row, Tx, first, readable};

/// The most receipts of a user in a room: up to two for each thread.
const MAX_RECEIPTS_IN_ROOM: u64 = 10_000;

fn read(row: &Row<'_>) -> Result<Receipt, DbError> {
    Ok(Receipt {
        room: row.get(0)?,
        user: row.get_with(1, |id: String| UserId::try_from(id))?,
        receipt_type: row.get(2)?,
        thread_id: row.get(3)?,
        event_id: row.get(4)?,
        event_position: row.get(5)?,
        ts: row.get(6)?,
        position: row.get(7)?,
    })
}

/// Records a receipt unless the existing one is for a later event; sets its position and announces it.
/// Returns `false`, and changes nothing, when the receipt would move backwards or not at all.
///
/// # Errors
/// `TooLarge` when there are too many, or the database's.
pub fn set(tx: &mut Tx<'_>, mut receipt: Receipt) -> Result<bool, BoundError> {
    let old: Option<(String, Option<Position>)> = tx.query_opt(
        "SELECT event_id, event_position FROM receipts
         WHERE room_nid = $1 AND user_id = $2 AND receipt_type = $3 AND thread_id = $4",
        &[&receipt.room, &receipt.user.as_str(), &receipt.receipt_type, &receipt.thread_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if let Some((event_id, at)) = old {
        let backwards = matches!((at, receipt.event_position), (Some(old), Some(new)) if new <= old);
        if backwards || event_id == receipt.event_id {
            return Ok(false);
        }
    } else if !matches!(receipt.thread_id.as_str(), "" | "main") {
        let receipts: u64 = tx.query_one(
            "SELECT COUNT(*) FROM receipts WHERE room_nid = $1 AND user_id = $2",
            &[&receipt.room, &receipt.user.as_str()],
            first,
        )?;
        bounds::require(receipts < MAX_RECEIPTS_IN_ROOM, "The user has too many receipts in the room")?;
    }
    receipt.position = tx.next_position()?;
    tx.execute_later(
        "INSERT INTO receipts (room_nid, user_id, receipt_type, thread_id, event_id, event_position, ts, position)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (room_nid, user_id, receipt_type, thread_id) DO UPDATE SET event_id = excluded.event_id,
         event_position = excluded.event_position, ts = excluded.ts, position = excluded.position",
        &[
            &receipt.room,
            &receipt.user.as_str(),
            &receipt.receipt_type,
            &receipt.thread_id,
            &receipt.event_id,
            &receipt.event_position,
            &receipt.ts,
            &receipt.position,
        ],
    )?;
    tx.announce(Change::Receipt(Arc::new(receipt)));
    Ok(true)
}

/// Returns the receipts of all rooms that were written after `since` and at or before `upto`.
pub(super) fn between(tx: &mut Tx<'_>, since: Position, upto: Position) -> Result<Vec<Receipt>, DbError> {
    let receipts = tx.query(
        "SELECT room_nid, user_id, receipt_type, thread_id, event_id, event_position, ts, position FROM receipts
         WHERE position > $1 AND position <= $2 ORDER BY position",
        &[&since, &upto],
        |row| Ok(readable(read(row))),
    )?;
    Ok(receipts.into_iter().flatten().collect())
}

/// Returns the receipts of these rooms that were written after `since` and at or before `upto`; those of a room in
/// order of position.
pub fn in_rooms(tx: &mut Tx<'_>, rooms: &[RoomNid], since: Position, upto: Position) -> Result<Vec<Receipt>, DbError> {
    tx.query(
        "SELECT room_nid, user_id, receipt_type, thread_id, event_id, event_position, ts, position FROM receipts
         WHERE room_nid = ANY($1) AND position > $2 AND position <= $3 ORDER BY position",
        &[&Any(rooms), &since, &upto],
        read,
    )
}

/// Returns a user's own receipts in all rooms.
pub fn of_user(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<Receipt>, DbError> {
    tx.query(
        "SELECT room_nid, user_id, receipt_type, thread_id, event_id, event_position, ts, position FROM receipts
         WHERE user_id = $1 ORDER BY room_nid",
        &[&user_id],
        read,
    )
}

/// Returns the receipts in a room for any of these events, all of which have a position after `after`.
pub fn on_events(
    tx: &mut Tx<'_>,
    room: RoomNid,
    event_ids: &[&str],
    after: Position,
    upto: Position,
) -> Result<Vec<Receipt>, DbError> {
    // A receipt comes after the event that was read: the index of positions finds it.
    tx.query(
        "SELECT room_nid, user_id, receipt_type, thread_id, event_id, event_position, ts, position FROM receipts
         WHERE room_nid = $1 AND position > $3 AND position <= $4 AND event_id = ANY($2) ORDER BY position",
        &[&room, &Any(event_ids), &after, &upto],
        read,
    )
}

/// Returns a user's own receipts in rooms.
pub fn of_user_in_rooms(
    tx: &mut Tx<'_>,
    rooms: &[RoomNid],
    user_id: &str,
    upto: Position,
) -> Result<Vec<Receipt>, DbError> {
    tx.query(
        "SELECT room_nid, user_id, receipt_type, thread_id, event_id, event_position, ts, position FROM receipts
         WHERE room_nid = ANY($1) AND user_id = $2 AND position <= $3 ORDER BY position",
        &[&Any(rooms), &user_id, &upto],
        read,
    )
}
