//! Changes of users' devices and keys.

use plexus_protocol::id::UserId;

use super::device_keys;
use crate::{Any, Change, DbError, Position, RoomNid, Row, Tx, first};

/// The `device_id` under which changes of a user's cross-signing keys are recorded.
pub const CROSS_SIGNING: &str = "";

/// Records and announces that a device of a user changed, appeared or vanished; with [`CROSS_SIGNING`], that the
/// cross-signing keys changed.
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

/// Like [`record`], if the device has published keys: nobody can see a change of a device without keys.
pub fn record_if_visible(tx: &mut Tx, user: &UserId, device_id: &str) -> Result<(), DbError> {
    match device_keys::get(tx, user.as_str(), device_id)? {
        Some(_) => record(tx, user, device_id),
        None => Ok(()),
    }
}

/// Returns the users whose devices or cross-signing keys changed last after `from` and at or before `to`. A user with a
/// further change after `to` is absent, and belongs to the range that begins there.
pub fn changed_users(tx: &mut Tx, from: Position, to: Position) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT DISTINCT user_id FROM device_list_changes WHERE position > $1 AND position <= $2",
        &[&from, &to],
        first,
    )
}

/// The newest change of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceChange {
    pub user_id: String,
    /// [`CROSS_SIGNING`] for the cross-signing keys.
    pub device_id: String,
    pub position: Position,
    /// The previous change of a device of this user.
    pub previous: Option<Position>,
}

/// Returns the changes after `from`, oldest first, at most `limit`: for device list updates to other servers.
pub fn changes_after(tx: &mut Tx, from: Position, limit: u32) -> Result<Vec<DeviceChange>, DbError> {
    tx.query(
        "SELECT user_id, device_id, position, previous FROM device_list_changes
         WHERE position > $1 ORDER BY position LIMIT $2",
        &[&from, &limit],
        change,
    )
}

/// Returns the newest change of each of the user's devices, newest first, at most `limit`. Includes deleted devices but
/// not cross-signing keys.
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

/// Returns the position of the last change of a device of a user; 0 when there is none. Cross-signing keys do not
/// count: their updates have no place in the sequence that other servers follow.
pub fn newest_of_user(tx: &mut Tx, user_id: &str) -> Result<Position, DbError> {
    tx.query_one(
        "SELECT COALESCE(MAX(position), 0) FROM device_list_changes WHERE user_id = $1 AND device_id <> $2",
        &[&user_id, &CROSS_SIGNING],
        first,
    )
}

/// Records and announces that keys of `target` look different to `user` alone, because `user` has signed them or has
/// uploaded a user-signing key (then `target` is the same user).
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

/// Returns the users whose keys `user_id` signed after `from` and at or before `to`: their keys now look different to
/// that user.
pub fn signed_by(tx: &mut Tx, user_id: &str, from: Position, to: Position) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT target_user_id FROM user_signature_changes WHERE user_id = $1 AND position > $2 AND position <= $3",
        &[&user_id, &from, &to],
        first,
    )
}

/// Returns the users whose memberships of these rooms changed after `from` (a changed name counts), with the room.
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

/// Returns the rooms whose `m.room.encryption` changed after `from`.
pub fn encryption_changed(tx: &mut Tx, rooms: &[RoomNid], from: Position) -> Result<Vec<RoomNid>, DbError> {
    tx.query(
        "SELECT DISTINCT d.room_nid FROM current_state_deltas d
         WHERE d.room_nid = ANY($1) AND d.position > $2
             AND d.type_nid = (SELECT type_nid FROM event_types WHERE event_type = $3)",
        &[&Any(rooms), &from, &b"m.room.encryption".as_slice()],
        first,
    )
}
