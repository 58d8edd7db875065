//! Rooms that this server joined without receiving or storing their whole state (partial state).

use crate::{Any, DbError, EventNid, Position, RoomNid, Row, SnapshotNid, Tx, first};

/// A join with partial state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialJoin {
    /// This server's join event.
    pub event_nid: EventNid,
    /// The state before it, to which the rest is added.
    pub snapshot_nid: SnapshotNid,
    /// The resident server through which this server joined.
    pub joined_via: String,
    /// The servers in the room according to it.
    pub servers: Vec<String>,
    /// The position from which clients see the room; `None`: they do not see it yet.
    pub visible_position: Option<Position>,
    /// The position at which the state became complete; `None` while it is not.
    pub full_position: Option<Position>,
}

fn partial_join(row: &Row<'_>) -> Result<PartialJoin, DbError> {
    let servers: String = row.get(3)?;
    Ok(PartialJoin {
        event_nid: row.get(0)?,
        snapshot_nid: row.get(1)?,
        joined_via: row.get(2)?,
        servers: servers.split_ascii_whitespace().map(str::to_owned).collect(),
        visible_position: row.get(4)?,
        full_position: row.get(5)?,
    })
}

/// Returns the room's join, if its state is or was partial.
pub fn of_room(tx: &mut Tx<'_>, room: RoomNid) -> Result<Option<PartialJoin>, DbError> {
    tx.query_opt(
        "SELECT event_nid, snapshot_nid, joined_via, servers, visible_position, full_position FROM partial_joins
         WHERE room_nid = $1",
        &[&room],
        partial_join,
    )
}

/// Returns the rooms with partial state.
pub fn unfinished(tx: &mut Tx<'_>) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT room_nid FROM partial_joins WHERE full_position IS NULL ORDER BY room_nid", &[], first)
}

/// Returns those of these rooms whose state is or was partial, with the position at which it became complete; `None`
/// while it is not.
pub fn completed_at(tx: &mut Tx<'_>, rooms: &[RoomNid]) -> Result<Vec<(RoomNid, Option<Position>)>, DbError> {
    tx.query("SELECT room_nid, full_position FROM partial_joins WHERE room_nid = ANY($1)", &[&Any(rooms)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Replaces the record of a room's join.
pub fn set(tx: &mut Tx<'_>, room: RoomNid, join: Option<&PartialJoin>) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM partial_joins WHERE room_nid = $1", &[&room])?;
    if let Some(join) = join {
        tx.execute_later(
            "INSERT INTO partial_joins
                 (room_nid, event_nid, snapshot_nid, joined_via, servers, visible_position, full_position)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &room,
                &join.event_nid,
                &join.snapshot_nid,
                &join.joined_via,
                &join.servers.join(" "),
                &join.visible_position,
                &join.full_position,
            ],
        )?;
    }
    Ok(())
}
