//! Room aliases of this server.

use super::bounds::{self, BoundError};
use crate::{DbError, RoomNid, ToSql, Tx, first};

/// The most local aliases of a room: a request for them returns all.
const MAX_ALIASES_OF_ROOM: u64 = 1_000;

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub room_nid: RoomNid,
    pub room_id: String,
    /// The user who created it.
    pub creator: String,
}

const INSERT: &str =
    "INSERT INTO room_aliases (alias, room_nid, creator) VALUES ($1, $2, $3) ON CONFLICT (alias) DO NOTHING";

/// Stores an alias; the closure fails when the alias exists already: see [`is_taken`].
pub fn insert(tx: &mut Tx<'_>, alias: &str, room: RoomNid, creator: &str) -> Result<(), DbError> {
    tx.change_each_later(INSERT, [[alias.to_param(), room.to_param(), creator.to_param()]])
}

/// Like [`insert`], for a room that may have aliases already.
///
/// # Errors
/// `TooLarge`, or the database's.
pub fn add(tx: &mut Tx<'_>, alias: &str, room: RoomNid, creator: &str) -> Result<(), BoundError> {
    let aliases: u64 = tx.query_one("SELECT COUNT(*) FROM room_aliases WHERE room_nid = $1", &[&room], first)?;
    bounds::require(aliases < MAX_ALIASES_OF_ROOM, "The room has too many aliases")?;
    Ok(insert(tx, alias, room, creator)?)
}

/// Whether [`insert`] failed because the alias exists.
pub fn is_taken(error: &DbError) -> bool {
    matches!(error, DbError::Unchanged(INSERT))
}

/// Returns the room that an alias points to.
pub fn get(tx: &mut Tx<'_>, alias: &str) -> Result<Option<Alias>, DbError> {
    tx.query_opt(
        "SELECT a.room_nid, r.room_id, a.creator FROM room_aliases a JOIN rooms r ON r.room_nid = a.room_nid
         WHERE a.alias = $1",
        &[&alias],
        |row| Ok(Alias { room_nid: row.get(0)?, room_id: row.get(1)?, creator: row.get(2)? }),
    )
}

/// Deletes an alias; returns `false` when there was none.
pub fn delete(tx: &mut Tx<'_>, alias: &str) -> Result<bool, DbError> {
    Ok(tx.execute("DELETE FROM room_aliases WHERE alias = $1", &[&alias])? == 1)
}

/// Returns a room's aliases in order.
pub fn of_room(tx: &mut Tx<'_>, room: RoomNid) -> Result<Vec<String>, DbError> {
    tx.query("SELECT alias FROM room_aliases WHERE room_nid = $1 ORDER BY alias", &[&room], |row| row.get(0))
}

/// Points all aliases of one room to another (room upgrades).
pub fn move_all(tx: &mut Tx<'_>, from: RoomNid, to: RoomNid) -> Result<(), DbError> {
    tx.execute_later("UPDATE room_aliases SET room_nid = $2 WHERE room_nid = $1", &[&from, &to])?;
    Ok(())
}
