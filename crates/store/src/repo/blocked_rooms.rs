//! Rooms that administrators have blocked.

use crate::{DbError, Tx, first};

/// Blocks a room. Whoever has blocked it first stays recorded.
pub fn block(tx: &mut Tx<'_>, room_id: &str, blocked_by: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO blocked_rooms (room_id, blocked_by) VALUES ($1, $2) ON CONFLICT (room_id) DO NOTHING",
        &[&room_id, &blocked_by],
    )?;
    Ok(())
}

/// Unblocks a room.
pub fn unblock(tx: &mut Tx<'_>, room_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM blocked_rooms WHERE room_id = $1", &[&room_id])?;
    Ok(())
}

/// Returns the administrator who blocked a room; `None` if it is not blocked.
pub fn blocked_by(tx: &mut Tx<'_>, room_id: &str) -> Result<Option<String>, DbError> {
    tx.query_opt("SELECT blocked_by FROM blocked_rooms WHERE room_id = $1", &[&room_id], first)
}
