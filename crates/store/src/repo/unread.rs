//! Checkpoints of unread counts: up to which position a user's counts in a room are evaluated, and their values.

use crate::{DbError, Position, RoomNid, Tx};

/// Returns all checkpoints of a user: room, evaluated position, counts as JSON.
pub fn of_user(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<(RoomNid, Position, String)>, DbError> {
    tx.query("SELECT room_nid, evaluated_to, counts FROM unread_checkpoints WHERE user_id = $1", &[&user_id], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
}

/// Stores a checkpoint.
pub fn set(tx: &mut Tx<'_>, user_id: &str, room: RoomNid, evaluated_to: Position, counts: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO unread_checkpoints (user_id, room_nid, evaluated_to, counts) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id, room_nid) DO UPDATE SET evaluated_to = excluded.evaluated_to, counts = excluded.counts",
        &[&user_id, &room, &evaluated_to, &counts],
    )?;
    Ok(())
}
