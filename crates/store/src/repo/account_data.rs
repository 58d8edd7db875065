//! Global and per-room account data. Tags (`m.tag`) and the read marker (`m.fully_read`) are rows of this table too.

use plexus_protocol::id::UserId;

use super::bounds::{self, BoundError};
use crate::{Any, Change, DbError, Position, RoomNid, Tx, first};

/// The longest event type, in bytes ([Size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits)).
const MAX_TYPE_BYTES: usize = 255;
/// The longest content, in bytes: an `m.direct` of some ten thousand conversations.
const MAX_CONTENT_BYTES: usize = 1024 * 1024;
/// The most entries of a user: several in each of ten thousand rooms.
const MAX_PIECES_OF_USER: u64 = 50_000;
/// The most bytes of all entries of a user together: an initial sync sends them all.
const MAX_BYTES_OF_USER: u64 = 16 * 1024 * 1024;

/// One entry of account data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountData {
    /// The room it belongs to; empty for global account data.
    pub room_id: String,
    pub event_type: String,
    /// The content, a JSON object as text.
    pub content: String,
}

fn read(row: &crate::Row<'_>) -> Result<AccountData, DbError> {
    Ok(AccountData { room_id: row.get(0)?, event_type: row.get(1)?, content: row.get(2)? })
}

/// The room that account data belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Empty for global account data.
    pub room_id: &'a str,
    /// The room's number, unless it is global or this server does not know the room.
    pub room: Option<RoomNid>,
}

/// Writes one entry and announces it. Returns its position. For what clients write use [`put`].
pub fn set(
    tx: &mut Tx<'_>,
    user: &UserId,
    scope: Scope<'_>,
    event_type: &str,
    content: &str,
) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    tx.execute_later(
        "INSERT INTO account_data (user_id, room_id, type, content, position) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id, room_id, type)
         DO UPDATE SET content = excluded.content, position = excluded.position, deleted = 0",
        &[&user.as_str(), &scope.room_id, &event_type, &content, &position],
    )?;
    tx.announce(Change::AccountData { user: user.clone(), room: scope.room, position });
    Ok(position)
}

/// Deletes one entry, if there is one, and announces it: clients that have it are sent an empty content in its place.
pub fn delete(tx: &mut Tx<'_>, user: &UserId, scope: Scope<'_>, event_type: &str) -> Result<(), DbError> {
    if get(tx, user.as_str(), scope.room_id, event_type)?.is_none() {
        return Ok(());
    }
    let position = tx.next_position()?;
    tx.execute_later(
        "UPDATE account_data SET content = '{}', deleted = 1, position = $4
         WHERE user_id = $1 AND room_id = $2 AND type = $3",
        &[&user.as_str(), &scope.room_id, &event_type, &position],
    )?;
    tx.announce(Change::AccountData { user: user.clone(), room: scope.room, position });
    Ok(())
}

/// Like [`set`], for what a client writes: limited in bytes and number. An entry that is not larger than before is
/// always accepted.
///
/// # Errors
/// `TooLarge`, or the database's.
pub fn put(
    tx: &mut Tx<'_>,
    user: &UserId,
    scope: Scope<'_>,
    event_type: &str,
    content: &str,
) -> Result<Position, BoundError> {
    bounds::require(event_type.len() <= MAX_TYPE_BYTES, "The type is longer than 255 bytes")?;
    let old: Option<u64> = tx.query_opt(
        "SELECT OCTET_LENGTH(content) FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3",
        &[&user.as_str(), &scope.room_id, &event_type],
        first,
    )?;
    let bytes = content.len() as u64;
    if old.is_none_or(|old| bytes > old) {
        bounds::require(content.len() <= MAX_CONTENT_BYTES, "The content is larger than 1 MiB")?;
        let (pieces, others): (u64, u64) = tx.query_one(
            "SELECT COUNT(*), COALESCE(SUM(OCTET_LENGTH(content)), 0) FROM account_data
             WHERE user_id = $1 AND NOT (room_id = $2 AND type = $3)",
            &[&user.as_str(), &scope.room_id, &event_type],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        bounds::require(others + bytes <= MAX_BYTES_OF_USER, "The user's account data would be larger than 16 MiB")?;
        bounds::require(pieces < MAX_PIECES_OF_USER, "The user has too much account data")?;
    }
    Ok(set(tx, user, scope, event_type, content)?)
}

/// Returns the content of one entry. `room_id` is empty for global account data.
pub fn get(tx: &mut Tx<'_>, user_id: &str, room_id: &str, event_type: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3 AND deleted = 0",
        &[&user_id, &room_id, &event_type],
        |row| row.get(0),
    )
}

/// Returns a user's global account data of several types, in no particular order.
pub fn global_of_types(tx: &mut Tx<'_>, user_id: &str, types: &[&str]) -> Result<Vec<AccountData>, DbError> {
    let rows = tx.query(
        "SELECT room_id, type, content FROM account_data
         WHERE user_id = $1 AND room_id = '' AND type = ANY($2) AND deleted = 0",
        &[&user_id, &Any(types)],
        read,
    )?;
    Ok(readable(user_id, rows))
}

/// Returns the entries whose content can be read.
fn readable(user_id: &str, rows: Vec<AccountData>) -> Vec<AccountData> {
    let content = |row: AccountData| {
        let AccountData { room_id, event_type, content } = row;
        let place = || format!("account_data, {user_id}, room {room_id:?}, type {event_type:?}");
        let content = crate::readable_json(content, place)?;
        Some(AccountData { room_id, event_type, content })
    };
    rows.into_iter().filter_map(content).collect()
}

/// Returns the account data of a user that was written after `since` and at or before `upto`: with what was deleted,
/// unless `since` is `None`, for a client that has nothing yet.
pub fn changed(
    tx: &mut Tx<'_>,
    user_id: &str,
    since: Option<Position>,
    upto: Position,
) -> Result<Vec<AccountData>, DbError> {
    let rows = tx.query(
        "SELECT room_id, type, content FROM account_data
         WHERE user_id = $1 AND position > $2 AND position <= $3 AND deleted <= $4 ORDER BY position",
        &[&user_id, &since.unwrap_or(0), &upto, &i64::from(since.is_some())],
        read,
    )?;
    Ok(readable(user_id, rows))
}

/// Returns the account data of a user in one room.
pub fn in_room(tx: &mut Tx<'_>, user_id: &str, room_id: &str) -> Result<Vec<AccountData>, DbError> {
    let rows = tx.query(
        "SELECT room_id, type, content FROM account_data WHERE user_id = $1 AND room_id = $2 AND deleted = 0
         ORDER BY type",
        &[&user_id, &room_id],
        read,
    )?;
    Ok(readable(user_id, rows))
}

/// As [`changed`], in these rooms.
pub fn changed_in_rooms(
    tx: &mut Tx<'_>,
    user_id: &str,
    room_ids: &[&str],
    since: Option<Position>,
    upto: Position,
) -> Result<Vec<AccountData>, DbError> {
    let rows = tx.query(
        "SELECT room_id, type, content FROM account_data
         WHERE user_id = $1 AND room_id = ANY($2) AND position > $3 AND position <= $4 AND deleted <= $5
         ORDER BY room_id, type",
        &[&user_id, &Any(room_ids), &since.unwrap_or(0), &upto, &i64::from(since.is_some())],
        read,
    )?;
    Ok(readable(user_id, rows))
}

/// Returns the account data of one type that a user has in rooms.
pub fn of_type_in_rooms(tx: &mut Tx<'_>, user_id: &str, event_type: &str) -> Result<Vec<AccountData>, DbError> {
    let rows = tx.query(
        "SELECT room_id, type, content FROM account_data WHERE user_id = $1 AND type = $2
         AND room_id <> '' AND deleted = 0",
        &[&user_id, &event_type],
        read,
    )?;
    Ok(readable(user_id, rows))
}

/// Deletes all account data of a user, including push rules.
pub fn delete_all(tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM account_data WHERE user_id = $1", &[&user_id])?;
    tx.execute_later("DELETE FROM push_rules WHERE user_id = $1", &[&user_id])?;
    Ok(())
}
