//! Rooms in which guest access has ended and that guests may still have to leave.

use crate::{DbError, Position, RoomNid, Tx};

/// Records that guest access has ended in a room.
pub fn ended(tx: &mut Tx<'_>, room: RoomNid, position: Position) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO guest_access_ended (room_nid, position) VALUES ($1, $2)
         ON CONFLICT (room_nid) DO UPDATE SET position = excluded.position",
        &[&room, &position],
    )?;
    Ok(())
}

/// Returns recorded rooms, each with the position at which guest access ended: `limit` of them after `after`, in order
/// of room number.
pub fn rooms(tx: &mut Tx<'_>, after: RoomNid, limit: u32) -> Result<Vec<(RoomNid, Position)>, DbError> {
    tx.query(
        "SELECT room_nid, position FROM guest_access_ended WHERE room_nid > $1 ORDER BY room_nid LIMIT $2",
        &[&after, &limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Deletes the record of a room whose guests have left, unless guest access has ended again since.
pub fn done(tx: &mut Tx<'_>, room: RoomNid, position: Position) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM guest_access_ended WHERE room_nid = $1 AND position = $2", &[&room, &position])?;
    Ok(())
}
