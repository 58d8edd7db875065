//! Devices of local users.

use plexus_protocol::id::UserId;

use crate::db::Any;
use crate::{DbError, Row, Tx, first};

/// A device. Times are Unix ms.
#[derive(Debug, Clone)]
pub struct Device {
    pub device_id: String,
    pub display_name: Option<String>,
    pub created_ts: u64,
    pub last_seen_ts: Option<u64>,
    pub last_seen_ip: Option<String>,
    pub last_seen_user_agent: Option<String>,
}

fn device(row: &Row<'_>) -> Result<Device, DbError> {
    Ok(Device {
        device_id: row.get(0)?,
        display_name: row.get(1)?,
        created_ts: row.get(2)?,
        last_seen_ts: row.get(3)?,
        last_seen_ip: row.get(4)?,
        last_seen_user_agent: row.get(5)?,
    })
}

/// Returns one device of a user.
pub fn get(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<Option<Device>, DbError> {
    tx.query_opt(
        "SELECT device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_user_agent
         FROM devices WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
        device,
    )
}

/// Returns all devices of a user, in order of device id.
pub fn list(tx: &mut Tx, user_id: &str) -> Result<Vec<Device>, DbError> {
    tx.query(
        "SELECT device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_user_agent
         FROM devices WHERE user_id = $1 ORDER BY device_id",
        &[&user_id],
        device,
    )
}

/// Returns the devices of users: user id and device id, in order.
pub fn of_users(tx: &mut Tx, user_ids: &[&str]) -> Result<Vec<(String, String)>, DbError> {
    tx.query(
        "SELECT user_id, device_id FROM devices WHERE user_id = ANY($1) ORDER BY user_id, device_id",
        &[&Any(user_ids)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Creates a device unless it exists. Returns whether it is new.
pub fn create(
    tx: &mut Tx,
    user_id: &str,
    device_id: &str,
    display_name: Option<&str>,
    now: u64,
) -> Result<bool, DbError> {
    let created = tx.execute(
        "INSERT INTO devices (user_id, device_id, display_name, created_ts) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id, device_id) DO NOTHING",
        &[&user_id, &device_id, &display_name, &now],
    )?;
    Ok(created == 1)
}

/// Returns the device that was not used for the longest time, if the user has more than `most`. A dehydrated device,
/// which nobody uses, is never returned.
pub fn least_recently_used_beyond(tx: &mut Tx, user_id: &str, most: u64) -> Result<Option<String>, DbError> {
    let devices: u64 = tx.query_one("SELECT COUNT(*) FROM devices WHERE user_id = $1", &[&user_id], first)?;
    if devices <= most {
        return Ok(None);
    }
    tx.query_opt(
        "SELECT device_id FROM devices WHERE user_id = $1
         AND device_id NOT IN (SELECT device_id FROM dehydrated_devices WHERE user_id = $1)
         ORDER BY COALESCE(last_seen_ts, created_ts), device_id LIMIT 1",
        &[&user_id],
        first,
    )
}

/// A device's key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceKey {
    pub user_id: String,
    pub device_id: String,
}

/// Returns the first `limit` devices after `after`, in the order of their keys, that were last used before `before_ms`
/// (Unix ms). Devices that were never used, such as dehydrated ones, are not among them.
pub fn unused_since(tx: &mut Tx, before_ms: u64, after: &DeviceKey, limit: u32) -> Result<Vec<DeviceKey>, DbError> {
    tx.query(
        "SELECT user_id, device_id FROM devices
         WHERE (user_id, device_id) > ($1, $2) AND last_seen_ts < $3
         ORDER BY user_id, device_id LIMIT $4",
        &[&after.user_id, &after.device_id, &before_ms, &limit],
        |row| Ok(DeviceKey { user_id: row.get(0)?, device_id: row.get(1)? }),
    )
}

/// Forgets the addresses and user agents of devices that were last used before `before_ms` (Unix ms), among the next
/// `limit` devices after `after` that have one, in the order of their keys. Returns the last of these; `None` if there
/// was none.
pub fn forget_addresses(
    tx: &mut Tx,
    before_ms: u64,
    after: &DeviceKey,
    limit: u32,
) -> Result<Option<DeviceKey>, DbError> {
    let old = tx.query(
        "SELECT user_id, device_id FROM devices
         WHERE (user_id, device_id) > ($1, $2) AND last_seen_ts < $3
           AND (last_seen_ip IS NOT NULL OR last_seen_user_agent IS NOT NULL)
         ORDER BY user_id, device_id LIMIT $4",
        &[&after.user_id, &after.device_id, &before_ms, &limit],
        |row| Ok(DeviceKey { user_id: row.get(0)?, device_id: row.get(1)? }),
    )?;
    for device in &old {
        tx.execute_later(
            "UPDATE devices SET last_seen_ip = NULL, last_seen_user_agent = NULL
             WHERE user_id = $1 AND device_id = $2",
            &[&device.user_id, &device.device_id],
        )?;
    }
    Ok(old.into_iter().next_back())
}

/// Renames a device. Returns `false` when the user has no such device.
pub fn rename(tx: &mut Tx, user_id: &str, device_id: &str, display_name: Option<&str>) -> Result<bool, DbError> {
    let renamed = tx.execute(
        "UPDATE devices SET display_name = $3 WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id, &display_name],
    )?;
    Ok(renamed == 1)
}

/// Deletes a device, everything it published (keys, one-time keys, fallback keys, signatures), its pushers, its queued
/// messages and its connections of sliding sync; announces it. Its tokens are deleted by
/// [`super::tokens::delete_of_device`]. Returns `false` when the user has no such device.
pub fn delete(tx: &mut Tx, user: &UserId, device_id: &str) -> Result<bool, DbError> {
    let user_id = user.as_str();
    super::device_keys::delete(tx, user_id, device_id)?;
    super::one_time_keys::delete_of_device(tx, user_id, device_id)?;
    super::to_device::delete_device(tx, user_id, device_id)?;
    super::pushers::delete_of_device(tx, user, device_id)?;
    super::sliding_sync::delete_of_device(tx, user_id, device_id)?;
    super::dehydrated_devices::delete(tx, user_id, device_id)?;
    let deleted =
        tx.execute("DELETE FROM devices WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])? == 1;
    if deleted {
        super::other_changes::record_deleted_device(tx, user, device_id)?;
    }
    Ok(deleted)
}

/// The last use of a device.
#[derive(Debug, Clone)]
pub struct LastSeen {
    pub user_id: String,
    pub device_id: String,
    /// Unix ms.
    pub ts: u64,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
}

/// Records the last use of devices. Deleted devices are ignored.
pub fn set_last_seen(tx: &mut Tx, seen: &[LastSeen]) -> Result<(), DbError> {
    for one in seen {
        tx.execute_later(
            "UPDATE devices SET last_seen_ts = $3, last_seen_ip = $4, last_seen_user_agent = $5
             WHERE user_id = $1 AND device_id = $2",
            &[&one.user_id, &one.device_id, &one.ts, &one.ip, &one.user_agent],
        )?;
    }
    Ok(())
}
