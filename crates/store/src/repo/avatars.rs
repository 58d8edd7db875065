//! Whose avatar a file is: the index by which media that is in use is found.

use super::events::unpacked;
use super::interned;
use crate::db::ToSql as _;
use crate::pdu_json::UnpackError;
use crate::{Any, DbError, RoomNid, Tx, first};

/// The JSON of the event that sets a room's avatar.
#[derive(Debug)]
pub struct RoomAvatar {
    pub room_nid: RoomNid,
    pub event: Result<String, UnpackError>,
}

/// Records that a room's avatar has changed.
pub fn note_change(tx: &mut Tx<'_>, room: RoomNid) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO room_avatars (room_nid, url, is_stale) VALUES ($1, NULL, 1)
         ON CONFLICT (room_nid) DO UPDATE SET is_stale = 1",
        &[&room],
    )?;
    Ok(())
}

/// Returns up to `limit` rooms whose avatars have changed since they were indexed.
pub fn stale_rooms(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT room_nid FROM room_avatars WHERE is_stale = 1 LIMIT $1", &[&limit], first)
}

/// Returns the avatars that rooms have.
pub fn of_rooms(tx: &mut Tx<'_>, rooms: &[RoomNid]) -> Result<Vec<RoomAvatar>, DbError> {
    let (Some(avatar), Some(key)) = (interned::find_type(tx, "m.room.avatar")?, interned::find_state_key(tx, "")?)
    else {
        return Ok(Vec::new());
    };
    tx.query(
        "SELECT c.room_nid, e.json FROM current_state c JOIN events e ON e.event_nid = c.event_nid
         WHERE c.room_nid = ANY($1) AND c.type_nid = $2 AND c.state_key_nid = $3",
        &[&Any(rooms), &avatar, &key],
        |row| Ok(RoomAvatar { room_nid: row.get(0)?, event: unpacked(row, 1)? }),
    )
}

/// Indexes the avatars of rooms: URIs of this server's media, or `None`.
pub fn index(tx: &mut Tx<'_>, avatars: &[(RoomNid, Option<String>)]) -> Result<(), DbError> {
    tx.insert_many_later(
        "UPDATE room_avatars SET url = $2, is_stale = 0 WHERE room_nid = $1",
        avatars.iter().map(|(room, url)| [room.to_param(), url.to_param()]),
    )?;
    Ok(())
}

/// Returns the rooms that had one of `urls` as their avatar when they were indexed.
pub fn rooms_with(tx: &mut Tx<'_>, urls: &[String]) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT room_nid FROM room_avatars WHERE url = ANY($1)", &[&Any(urls)], first)
}

/// Returns those of the JSON strings `urls` that are the avatar of a user of this server.
pub fn of_users(tx: &mut Tx<'_>, urls: &[String]) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT DISTINCT value FROM profile_fields WHERE field = 'avatar_url' AND value = ANY($1)",
        &[&Any(urls)],
        first,
    )
}
