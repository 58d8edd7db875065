//! Events without their JSON.

use crate::{DbError, EventNid, Position, Tx};

/// The columns of an event without its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    pub room_id: String,
    pub sender: String,
    pub position: Option<Position>,
    pub depth: i64,
    pub origin_server_ts: i64,
}

/// Returns the columns of an event without its JSON.
pub fn outline(tx: &mut Tx<'_>, event: EventNid) -> Result<Option<Outline>, DbError> {
    tx.query_opt(
        "SELECT e.event_id, r.room_id, u.user_id, e.position, e.depth, e.origin_server_ts
         FROM events e JOIN rooms r ON r.room_nid = e.room_nid JOIN user_ids u ON u.user_nid = e.sender_nid
         WHERE e.event_nid = $1",
        &[&event],
        |row| {
            Ok(Outline {
                event_id: row.get(0)?,
                room_id: row.get(1)?,
                sender: row.get(2)?,
                position: row.get(3)?,
                depth: row.get(4)?,
                origin_server_ts: row.get(5)?,
            })
        },
    )
}
