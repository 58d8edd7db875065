//! Rooms: one row each, updated by compare and swap on its revision.

use std::collections::HashMap;

use super::other_changes;
use crate::change::HandedOver;
use crate::db::Param;
use crate::{Any, DbError, EventNid, Position, RoomNid, Row, SnapshotNid, ToSql, Tx, first, varint};

/// A room's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRow {
    pub room_nid: RoomNid,
    pub room_id: String,
    pub room_version: String,
    /// Counts every commit to the room.
    pub revision: i64,
    pub extremities: Vec<EventNid>,
    /// The greatest depth among the extremities.
    pub depth: i64,
    /// The state after the extremities.
    pub snapshot_nid: SnapshotNid,
    /// Position of the newest timeline event.
    pub position: Position,
    /// Whether the room is in the room directory.
    pub published: bool,
}

fn room(row: &Row<'_>) -> Result<RoomRow, DbError> {
    Ok(RoomRow {
        room_nid: row.get(0)?,
        room_id: row.get(1)?,
        room_version: row.get(2)?,
        revision: row.get(3)?,
        extremities: row.get_with(4, |bytes: Vec<u8>| varint::unpack_list(&bytes).ok_or("not a packed list"))?,
        depth: row.get(5)?,
        snapshot_nid: row.get(6)?,
        position: row.get(7)?,
        published: row.get(8)?,
    })
}

const INSERT: &str =
    "INSERT INTO rooms (room_nid, room_id, room_version, revision, extremities, depth, snapshot_nid, position, \
     published)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (room_id) DO NOTHING";

fn columns<'r>(row: &'r RoomRow, extremities: &'r [u8]) -> [Param<'r>; 9] {
    [
        row.room_nid.to_param(),
        row.room_id.to_param(),
        row.room_version.to_param(),
        row.revision.to_param(),
        extremities.to_param(),
        row.depth.to_param(),
        row.snapshot_nid.to_param(),
        row.position.to_param(),
        row.published.to_param(),
    ]
}

/// Returns the positions of the newest timeline events of rooms.
pub fn positions(tx: &mut Tx<'_>, rooms: &[RoomNid]) -> Result<HashMap<RoomNid, Position>, DbError> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let rows = tx.query("SELECT room_nid, position FROM rooms WHERE room_nid = ANY($1)", &[&Any(rooms)], read)?;
    Ok(rows.into_iter().collect())
}

/// Adds a room unless there is one with this id.
pub fn insert(tx: &mut Tx<'_>, row: &RoomRow) -> Result<(), DbError> {
    tx.insert_many_later(INSERT, [columns(row, &varint::pack_list(&row.extremities))])?;
    Ok(())
}

/// Adds a room; the closure fails when there is one with this id: see [`is_stale`].
pub fn create(tx: &mut Tx<'_>, row: &RoomRow) -> Result<(), DbError> {
    tx.change_each_later(INSERT, [columns(row, &varint::pack_list(&row.extremities))])
}

/// Whether [`create`], [`advance`] or [`touch`] failed because somebody else has created or changed one of the rooms.
pub fn is_stale(error: &DbError) -> bool {
    matches!(error, DbError::Unchanged(INSERT | ADVANCE | TOUCH))
}

/// The changes of a commit to a room's row.
#[derive(Debug, Clone)]
pub struct Advance {
    pub room_nid: RoomNid,
    /// The revision the writer started from.
    pub expected_revision: i64,
    pub extremities: Vec<EventNid>,
    pub depth: i64,
    pub snapshot_nid: SnapshotNid,
    /// Position of the newest timeline event; `None`: unchanged.
    pub position: Option<Position>,
}

const ADVANCE: &str = "UPDATE rooms SET revision = revision + 1, extremities = $3, depth = $4, snapshot_nid = $5,
         position = COALESCE($6, position)
     WHERE room_nid = $1 AND revision = $2";

const TOUCH: &str = "UPDATE rooms SET revision = revision + 1 WHERE room_nid = $1 AND revision = $2";

/// Updates the rows of different rooms; the closure fails when somebody else has changed one of them since: see
/// [`is_stale`].
pub fn advance(tx: &mut Tx<'_>, rooms: &[Advance]) -> Result<(), DbError> {
    let extremities: Vec<Vec<u8>> = rooms.iter().map(|to| varint::pack_list(&to.extremities)).collect();
    tx.change_each_later(
        ADVANCE,
        rooms.iter().zip(&extremities).map(|(to, extremities)| {
            [
                to.room_nid.to_param(),
                to.expected_revision.to_param(),
                extremities.to_param(),
                to.depth.to_param(),
                to.snapshot_nid.to_param(),
                to.position.to_param(),
            ]
        }),
    )
}

/// Returns the room with this id.
pub fn by_id(tx: &mut Tx<'_>, room_id: &str) -> Result<Option<RoomRow>, DbError> {
    tx.query_opt(
        "SELECT room_nid, room_id, room_version, revision, extremities, depth, snapshot_nid, position, published
         FROM rooms WHERE room_id = $1",
        &[&room_id],
        room,
    )
}

/// Returns the room with this number.
pub fn by_nid(tx: &mut Tx<'_>, nid: RoomNid) -> Result<Option<RoomRow>, DbError> {
    tx.query_opt(
        "SELECT room_nid, room_id, room_version, revision, extremities, depth, snapshot_nid, position, published
         FROM rooms WHERE room_nid = $1",
        &[&nid],
        room,
    )
}

/// Returns the number and the version of the room with this id.
pub fn number_and_version(tx: &mut Tx<'_>, room_id: &str) -> Result<Option<(RoomNid, String)>, DbError> {
    tx.query_opt("SELECT room_nid, room_version FROM rooms WHERE room_id = $1", &[&room_id], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Corrects the version of a room of which no event is known, and announces it.
pub fn set_version(tx: &mut Tx<'_>, nid: RoomNid, version: &str) -> Result<(), DbError> {
    let revision = tx.query_one(
        "UPDATE rooms SET room_version = $2, revision = revision + 1 WHERE room_nid = $1 RETURNING revision",
        &[&nid, &version],
        first,
    )?;
    other_changes::record_room(tx, nid, revision, false, HandedOver::default())
}

/// Counts a commit to a room that changes nothing else of its row, and announces it. The closure fails when somebody
/// else has moved the row since: see [`is_stale`].
pub fn touch(
    tx: &mut Tx<'_>,
    nid: RoomNid,
    expected_revision: i64,
    redacts: bool,
    object: HandedOver,
) -> Result<(), DbError> {
    tx.change_each_later(TOUCH, [[nid.to_param(), expected_revision.to_param()]])?;
    other_changes::record_room(tx, nid, expected_revision + 1, redacts, object)
}

/// Returns the ids of rooms; unknown numbers are ignored.
pub fn ids(tx: &mut Tx<'_>, nids: &[RoomNid]) -> Result<Vec<(RoomNid, String)>, DbError> {
    tx.query("SELECT room_nid, room_id FROM rooms WHERE room_nid = ANY($1)", &[&Any(nids)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Returns the numbers of the rooms with these ids.
pub fn nids(tx: &mut Tx<'_>, ids: &[&str]) -> Result<Vec<(String, RoomNid)>, DbError> {
    tx.query("SELECT room_id, room_nid FROM rooms WHERE room_id = ANY($1)", &[&Any(ids)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Adds a room to the room directory or removes it.
pub fn set_published(tx: &mut Tx<'_>, nid: RoomNid, published: bool) -> Result<(), DbError> {
    tx.execute_later("UPDATE rooms SET published = $2 WHERE room_nid = $1", &[&nid, &published])?;
    Ok(())
}

/// Whether a room is in the room directory.
pub fn is_published(tx: &mut Tx<'_>, nid: RoomNid) -> Result<bool, DbError> {
    let row = tx.query_opt("SELECT published FROM rooms WHERE room_nid = $1", &[&nid], |row| row.get(0))?;
    Ok(row.unwrap_or(false))
}

/// Returns those rooms among `nids` that are in the room directory.
pub fn published_among(tx: &mut Tx<'_>, nids: &[RoomNid]) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT room_nid FROM rooms WHERE room_nid = ANY($1) AND published = 1", &[&Any(nids)], |row| row.get(0))
}

/// A network in the room directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The application service.
    pub service_id: String,
    pub network_id: String,
}

/// Lists a room in the room directory under a network, or removes it there.
pub fn set_published_in(tx: &mut Tx<'_>, network: &Network, nid: RoomNid, published: bool) -> Result<(), DbError> {
    let Network { service_id, network_id } = network;
    let sql = if published {
        "INSERT INTO app_service_rooms (service_id, network_id, room_nid) VALUES ($1, $2, $3)
         ON CONFLICT (service_id, network_id, room_nid) DO NOTHING"
    } else {
        "DELETE FROM app_service_rooms WHERE service_id = $1 AND network_id = $2 AND room_nid = $3"
    };
    tx.execute_later(sql, &[service_id, network_id, &nid])?;
    Ok(())
}

/// Returns the rooms in the room directory under a network, with their revisions.
pub fn published_in(tx: &mut Tx<'_>, network: &Network) -> Result<Vec<(RoomNid, i64)>, DbError> {
    tx.query(
        "SELECT r.room_nid, r.revision FROM app_service_rooms a JOIN rooms r ON r.room_nid = a.room_nid
         WHERE a.service_id = $1 AND a.network_id = $2 ORDER BY r.room_nid",
        &[&network.service_id, &network.network_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns all rooms in the room directory, also those under a network, with their revisions.
pub fn published_anywhere(tx: &mut Tx<'_>) -> Result<Vec<(RoomNid, i64)>, DbError> {
    tx.query(
        "SELECT room_nid, revision FROM rooms
         WHERE published = 1 OR room_nid IN (SELECT room_nid FROM app_service_rooms) ORDER BY room_nid",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns the rooms in the room directory that are under no network, with their revisions.
pub fn published(tx: &mut Tx<'_>) -> Result<Vec<(RoomNid, i64)>, DbError> {
    tx.query("SELECT room_nid, revision FROM rooms WHERE published = 1 ORDER BY room_nid", &[], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}
