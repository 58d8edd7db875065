//! Rooms whose state was not told, or not stored, as a whole when this server came into them.

use crate::{DbError, EventNid, Position, RoomNid, Row, SnapshotNid, Tx, first};

/// What is known of such a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialJoin {
    /// The event by which this server came in.
    pub event_nid: EventNid,
    /// The state before it, to which the rest is added.
    pub snapshot_nid: SnapshotNid,
    /// The server by way of which.
    pub joined_via: String,
    /// The servers that it says are in the room.
    pub servers: Vec<String>,
    /// From where on clients are told of the room; `None`: not yet.
    pub told_position: Option<Position>,
    /// When the state became full; `None`: it is not yet.
    pub full_position: Option<Position>,
}

fn partial_join(row: &Row<'_>) -> Result<PartialJoin, DbError> {
    let servers: String = row.get(3)?;
    Ok(PartialJoin {
        event_nid: row.get(0)?,
        snapshot_nid: row.get(1)?,
        joined_via: row.get(2)?,
        servers: servers.split_ascii_whitespace().map(str::to_owned).collect(),
        told_position: row.get(4)?,
        full_position: row.get(5)?,
    })
}

/// The room's, if it is or was such a room.
pub fn of_room(tx: &mut Tx<'_>, room: RoomNid) -> Result<Option<PartialJoin>, DbError> {
    tx.query_opt(
        "SELECT event_nid, snapshot_nid, joined_via, servers, told_position, full_position FROM partial_joins
         WHERE room_nid = $1",
        &[&room],
        partial_join,
    )
}

/// The rooms whose state is not full.
pub fn unfinished(tx: &mut Tx<'_>) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT room_nid FROM partial_joins WHERE full_position IS NULL ORDER BY room_nid", &[], first)
}

/// Notes how this server came into a room; what was noted before is forgotten.
pub fn set(tx: &mut Tx<'_>, room: RoomNid, join: Option<&PartialJoin>) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM partial_joins WHERE room_nid = $1", &[&room])?;
    if let Some(join) = join {
        tx.execute_later(
            "INSERT INTO partial_joins
                 (room_nid, event_nid, snapshot_nid, joined_via, servers, told_position, full_position)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &room,
                &join.event_nid,
                &join.snapshot_nid,
                &join.joined_via,
                &join.servers.join(" "),
                &join.told_position,
                &join.full_position,
            ],
        )?;
    }
    Ok(())
}
