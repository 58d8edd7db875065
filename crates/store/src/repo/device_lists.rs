//! Which users' devices or keys changed, and when.

use plexus_protocol::id::UserId;

use super::device_keys;
use crate::{Any, Change, DbError, Position, RoomNid, Row, Tx, first};

/// The `device_id` under which changes of a user's cross-signing keys are recorded.
pub const CROSS_SIGNING: &str = "";

/// Records and announces that a device of a user (or, with [`CROSS_SIGNING`], the cross-signing keys) changed, appeared
/// or vanished.
pub fn record(tx: &mut Tx, user: &UserId, device_id: &str) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.execute_later(
        "INSERT INTO device_list_changes (user_id, device_id, position, previous) VALUES ($1, $2, $3,
             (SELECT MAX(position) FROM device_list_changes WHERE user_id = $1 AND device_id <> $4))
         ON CONFLICT (user_id, device_id) DO UPDATE SET position = excluded.position, previous = excluded.previous",
        &[&user.as_str(), &device_id, &position, &CROSS_SIGNING],
    )?;
    tx.announce(Change::DeviceList { user: user.clone(), private: false, position });
    Ok(())
}

/// As [`record`], if the device has published keys: nobody can see a change of one without keys.
pub fn record_if_visible(tx: &mut Tx, user: &UserId, device_id: &str) -> Result<(), DbError> {
    match device_keys::get(tx, user.as_str(), device_id)? {
        Some(_) => record(tx, user, device_id),
        None => Ok(()),
    }
}

/// The users whose devices or cross-signing keys changed last after `from` and not after `to`. One that changed again
/// after `to` is absent: it is in the range that begins there.
pub fn changed_users(tx: &mut Tx, from: Position, to: Position) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT DISTINCT user_id FROM device_list_changes WHERE position > $1 AND position <= $2",
        &[&from, &to],
        first,
    )
}

/// One device's newest change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceChange {
    pub user_id: String,
    /// [`CROSS_SIGNING`] for the cross-signing keys.
    pub device_id: String,
    pub position: Position,
    /// The change of a device of this user before this one.
    pub previous: Option<Position>,
}

/// The changes after `from`, oldest first, at most `limit`: for sending device list updates to other servers.
pub fn changes_after(tx: &mut Tx, from: Position, limit: u32) -> Result<Vec<DeviceChange>, DbError> {
    tx.query(
        "SELECT user_id, device_id, position, previous FROM device_list_changes
         WHERE position > $1 ORDER BY position LIMIT $2",
        &[&from, &limit],
        change,
    )
}

/// The newest change of each of the user's devices, the newest first, at most `limit`. Deleted devices are included,
/// cross-signing keys are not.
pub fn changes_of_user(tx: &mut Tx, user_id: &str, limit: u32) -> Result<Vec<DeviceChange>, DbError> {
    tx.query(
        "SELECT user_id, device_id, position, previous FROM device_list_changes
         WHERE user_id = $1 AND device_id <> $2 ORDER BY position DESC LIMIT $3",
        &[&user_id, &CROSS_SIGNING, &limit],
        change,
    )
}

fn change(row: &Row<'_>) -> Result<DeviceChange, DbError> {
    Ok(DeviceChange { user_id: row.get(0)?, device_id: row.get(1)?, position: row.get(2)?, previous: row.get(3)? })
}

/// When a device of a user changed last; 0 when never. Cross-signing keys have no part in it: updates of theirs have no
/// place in the sequence that other servers follow.
pub fn newest_of_user(tx: &mut Tx, user_id: &str) -> Result<Position, DbError> {
    tx.query_one(
        "SELECT COALESCE(MAX(position), 0) FROM device_list_changes WHERE user_id = $1 AND device_id <> $2",
        &[&user_id, &CROSS_SIGNING],
        first,
    )
}

/// Records and announces that keys of `target` look different to `user` alone: `user` has signed them, or has uploaded
/// a user-signing key (then `target` is the same user).
pub fn record_signature(tx: &mut Tx, user: &UserId, target: &UserId) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.execute_later(
        "INSERT INTO user_signature_changes (user_id, target_user_id, position) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, target_user_id) DO UPDATE SET position = excluded.position",
        &[&user.as_str(), &target.as_str(), &position],
    )?;
    tx.announce(Change::DeviceList { user: user.clone(), private: true, position });
    Ok(())
}

/// The users whose keys `user_id` signed after `from` and not after `to`: their keys look different to that user now.
pub fn signed_by(tx: &mut Tx, user_id: &str, from: Position, to: Position) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT target_user_id FROM user_signature_changes WHERE user_id = $1 AND position > $2 AND position <= $3",
        &[&user_id, &from, &to],
        first,
    )
}

/// The users whose memberships of these rooms changed after `from` (a changed name counts), with the room.
pub fn members_changed(tx: &mut Tx, rooms: &[RoomNid], from: Position) -> Result<Vec<(RoomNid, String)>, DbError> {
    tx.query(
        "SELECT DISTINCT d.room_nid, k.state_key FROM current_state_deltas d
         JOIN state_keys k ON k.state_key_nid = d.state_key_nid
         WHERE d.room_nid = ANY($1) AND d.position > $2
             AND d.type_nid = (SELECT type_nid FROM event_types WHERE event_type = $3)",
        &[&Any(rooms), &from, &b"m.room.member".as_slice()],
        |row| Ok((row.get(0)?, row.get_with(1, String::from_utf8)?)),
    )
}

/// Those of the rooms whose `m.room.encryption` changed after `from`.
pub fn encryption_changed(tx: &mut Tx, rooms: &[RoomNid], from: Position) -> Result<Vec<RoomNid>, DbError> {
    tx.query(
        "SELECT DISTINCT d.room_nid FROM current_state_deltas d
         WHERE d.room_nid = ANY($1) AND d.position > $2
             AND d.type_nid = (SELECT type_nid FROM event_types WHERE event_type = $3)",
        &[&Any(rooms), &from, &b"m.room.encryption".as_slice()],
        first,
    )
}
