//! Changes that have no row with a position in a table of their own: recorded for processes that keep in memory what
//! they change.

use plexus_protocol::id::UserId;

use crate::change::{HandedOver, TokenHash};
use crate::{Change, DbError, Position, RoomNid, Row, ToSql, Tx, first, readable};

/// Older entries than this one were deleted: whoever is at a lower position may miss some.
const TRIMMED: i64 = 0;
const ROOM: i64 = 1;
const TOKENS: i64 = 2;
const PROFILE: i64 = 3;
const ERASED: i64 = 4;
const FORGOTTEN: i64 = 5;
const ONE_TIME_KEYS: i64 = 6;
const DEVICE_DELETED: i64 = 7;
const PUSHERS: i64 = 8;

const NO_ROOM: RoomNid = 0;
const NO_DETAIL: &[u8] = &[];
/// The detail of a room whose stored events may have been redacted.
const REDACTS: &[u8] = &[1];

const INSERT: &str =
    "INSERT INTO other_changes (position, kind, room_nid, user_id, detail) VALUES ($1, $2, $3, $4, $5)";

/// How many changes are deleted in one transaction: other writes wait for it. Those of one position go together.
const MAX_TRIMMED: i64 = 5_000;

/// Deletes changes at or before a position, the oldest first. A process that has not read them by now drops everything
/// that it holds in memory. Returns whether none of them is left.
///
/// # Errors
/// When the database fails.
pub fn trim(tx: &mut Tx<'_>, upto: Position) -> Result<bool, DbError> {
    let last_of_step: Option<Position> = tx.query_opt(
        "SELECT position FROM other_changes WHERE position <= $1 ORDER BY position LIMIT 1 OFFSET $2",
        &[&upto, &MAX_TRIMMED],
        first,
    )?;
    let deleted = last_of_step.unwrap_or(upto);
    tx.execute_later("DELETE FROM other_changes WHERE position <= $1", &[&deleted])?;
    tx.execute_later(INSERT, &[&deleted, &TRIMMED, &NO_ROOM, &"", &NO_DETAIL])?;
    Ok(last_of_step.is_none())
}

/// Records and announces that a room as it is in memory changed without an event. The revision is its row's.
///
/// # Errors
/// When the database fails.
pub fn record_room(
    tx: &mut Tx<'_>,
    room: RoomNid,
    revision: i64,
    redacts: bool,
    object: HandedOver,
) -> Result<(), DbError> {
    let position = tx.next_position()?;
    let detail = if redacts { REDACTS } else { NO_DETAIL };
    tx.execute_later(INSERT, &[&position, &ROOM, &room, &"", &detail])?;
    tx.announce(Change::Room { room, revision, position, redacts, object });
    Ok(())
}

/// Records and announces that access tokens ended, or that their accounts changed.
///
/// # Errors
/// When the database fails.
pub fn record_tokens(tx: &mut Tx<'_>, hashes: Vec<TokenHash>) -> Result<(), DbError> {
    if hashes.is_empty() {
        return Ok(());
    }
    let position = tx.next_position()?;
    let row = |hash| [position.to_param(), TOKENS.to_param(), NO_ROOM.to_param(), "".to_param(), hash];
    tx.insert_many_later(INSERT, hashes.iter().map(|hash| row(hash.to_param())))?;
    tx.announce(Change::Tokens { hashes, position });
    Ok(())
}

/// Records and announces that the profile of a user of this server changed. Returns the position.
pub(super) fn record_profile(tx: &mut Tx<'_>, user: &str) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    tx.execute_later(INSERT, &[&position, &PROFILE, &NO_ROOM, &user, &NO_DETAIL])?;
    tx.announce(Change::Profile { user: user.to_owned(), position });
    Ok(position)
}

/// Records and announces that a user's content was erased.
pub(super) fn record_erasure(tx: &mut Tx<'_>, user: &str) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.execute_later(INSERT, &[&position, &ERASED, &NO_ROOM, &user, &NO_DETAIL])?;
    tx.announce(Change::Erased { user: user.to_owned(), position });
    Ok(())
}

/// Records and announces that a user has forgotten a room.
pub(super) fn record_forgotten(tx: &mut Tx<'_>, user: &UserId, room: RoomNid) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.execute_later(INSERT, &[&position, &FORGOTTEN, &room, &user.as_str(), &NO_DETAIL])?;
    tx.announce(Change::Forgotten { user: user.clone(), room, position });
    Ok(())
}

/// Records and announces that the number of one-time keys of a device, or its unused fallback keys, changed.
pub(super) fn record_one_time_keys(tx: &mut Tx<'_>, user: &UserId, device: &str) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.execute_later(INSERT, &[&position, &ONE_TIME_KEYS, &NO_ROOM, &user.as_str(), &device.as_bytes()])?;
    tx.announce(Change::OneTimeKeys { user: user.clone(), device: device.to_owned(), position });
    Ok(())
}

/// Records and announces that a device was deleted.
pub(super) fn record_deleted_device(tx: &mut Tx<'_>, user: &UserId, device: &str) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.execute_later(INSERT, &[&position, &DEVICE_DELETED, &NO_ROOM, &user.as_str(), &device.as_bytes()])?;
    tx.announce(Change::DeviceDeleted { user: user.clone(), device: device.to_owned(), position });
    Ok(())
}

/// Records and announces that the pushers of a user changed.
pub(super) fn record_pushers(tx: &mut Tx<'_>, user: &UserId) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.execute_later(INSERT, &[&position, &PUSHERS, &NO_ROOM, &user.as_str(), &NO_DETAIL])?;
    tx.announce(Change::Pushers { user: user.clone(), position });
    Ok(())
}

/// Whether changes after a position have been deleted.
pub(super) fn is_trimmed_after(tx: &mut Tx<'_>, position: Position) -> Result<bool, DbError> {
    let trimmed: Option<Position> = tx.query_one(
        "SELECT MAX(position) FROM other_changes WHERE kind = $1 AND position > $2",
        &[&TRIMMED, &position],
        first,
    )?;
    Ok(trimmed.is_some())
}

/// Returns the changes with `after < position <= upto`, in their order. Those of rooms are without a revision.
pub(super) fn between(tx: &mut Tx<'_>, after: Position, upto: Position) -> Result<Vec<Change>, DbError> {
    let rows = tx.query(
        "SELECT position, kind, room_nid, user_id, detail FROM other_changes
         WHERE position > $1 AND position <= $2 ORDER BY position",
        &[&after, &upto],
        |row| Ok(readable(change(row))),
    )?;
    Ok(rows.into_iter().flatten().collect())
}

fn change(row: &Row<'_>) -> Result<Change, DbError> {
    let (position, kind, room) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let user = || row.get_with(3, |user: String| UserId::try_from(user));
    Ok(match kind {
        ROOM => {
            let redacts = row.get::<Vec<u8>>(4)? == REDACTS;
            Change::Room { room, revision: 0, position, redacts, object: HandedOver::default() }
        }
        TOKENS => Change::Tokens { hashes: vec![row.get(4)?], position },
        PROFILE => Change::Profile { user: row.get(3)?, position },
        ERASED => Change::Erased { user: row.get(3)?, position },
        FORGOTTEN => Change::Forgotten { user: user()?, room, position },
        ONE_TIME_KEYS => Change::OneTimeKeys { user: user()?, device: row.get_with(4, String::from_utf8)?, position },
        DEVICE_DELETED => {
            Change::DeviceDeleted { user: user()?, device: row.get_with(4, String::from_utf8)?, position }
        }
        PUSHERS => Change::Pushers { user: user()?, position },
        _ => return Err(DbError::bad_data(format!("other_changes, position {position}"), "its kind is unknown")),
    })
}
