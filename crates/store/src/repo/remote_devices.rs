//! Devices and keys of users of other servers whose device lists are tracked.

use crate::db::ToSql;
use crate::{Any, DbError, Tx, first};

/// A user's tracked device list, without the devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteList {
    pub user_id: String,
    /// The `stream_id` of the newest update; `None` when the list came without one.
    pub stream_id: Option<i64>,
    /// JSON.
    pub master_key: Option<String>,
    /// JSON.
    pub self_signing_key: Option<String>,
    /// Incremented with every update.
    pub revision: i64,
    /// When to request the list again, in Unix ms; `None` while it is current.
    pub ask_ts: Option<u64>,
    /// How often requesting it has failed.
    pub failures: u32,
}

/// A device of a tracked user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteDevice {
    pub user_id: String,
    pub device_id: String,
    /// JSON.
    pub key_json: String,
}

/// A user's devices and cross-signing keys, as the user's server sent them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteDeviceList {
    pub stream_id: Option<i64>,
    /// JSON.
    pub master_key: Option<String>,
    /// JSON.
    pub self_signing_key: Option<String>,
    /// Device id and keys (JSON), in order of device id.
    pub devices: Vec<(String, String)>,
}

/// Returns the tracked lists of these users.
pub fn lists(tx: &mut Tx<'_>, user_ids: &[&str]) -> Result<Vec<RemoteList>, DbError> {
    tx.query(
        "SELECT user_id, stream_id, master_key, self_signing_key, revision, ask_ts, failures
         FROM remote_device_lists WHERE user_id = ANY($1)",
        &[&Any(user_ids)],
        |row| {
            Ok(RemoteList {
                user_id: row.get(0)?,
                stream_id: row.get(1)?,
                master_key: row.get(2)?,
                self_signing_key: row.get(3)?,
                revision: row.get(4)?,
                ask_ts: row.get(5)?,
                failures: row.get(6)?,
            })
        },
    )
}

/// Returns the devices of these users, by user and device.
pub fn devices(tx: &mut Tx<'_>, user_ids: &[&str]) -> Result<Vec<RemoteDevice>, DbError> {
    tx.query(
        "SELECT user_id, device_id, key_json FROM remote_devices WHERE user_id = ANY($1)
         ORDER BY user_id, device_id",
        &[&Any(user_ids)],
        |row| Ok(RemoteDevice { user_id: row.get(0)?, device_id: row.get(1)?, key_json: row.get(2)? }),
    )
}

/// Returns the list of one user, if it is tracked.
pub fn list(tx: &mut Tx<'_>, user_id: &str) -> Result<Option<RemoteList>, DbError> {
    Ok(lists(tx, &[user_id])?.pop())
}

/// Replaces a user's list. `ask_ts` is set when it is outdated already.
pub fn replace(tx: &mut Tx<'_>, user_id: &str, list: &RemoteDeviceList, ask_ts: Option<u64>) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO remote_device_lists (user_id, stream_id, master_key, self_signing_key, revision, ask_ts)
         VALUES ($1, $2, $3, $4, 0, $5)
         ON CONFLICT (user_id) DO UPDATE SET stream_id = excluded.stream_id, master_key = excluded.master_key,
             self_signing_key = excluded.self_signing_key, ask_ts = excluded.ask_ts, failures = 0",
        &[&user_id, &list.stream_id, &list.master_key, &list.self_signing_key, &ask_ts],
    )?;
    tx.execute_later("DELETE FROM remote_devices WHERE user_id = $1", &[&user_id])?;
    tx.insert_many_later(
        "INSERT INTO remote_devices (user_id, device_id, key_json) VALUES ($1, $2, $3)",
        list.devices.iter().map(|(device_id, key_json)| {
            [user_id.to_param(), device_id.as_str().to_param(), key_json.as_str().to_param()]
        }),
    )?;
    Ok(())
}

/// Marks a list, whatever its current content, as outdated: it is to be requested at `ask_ts` (Unix ms).
pub fn outdate(tx: &mut Tx<'_>, user_id: &str, ask_ts: u64) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO remote_device_lists (user_id, revision, ask_ts) VALUES ($1, 1, $2)
         ON CONFLICT (user_id) DO UPDATE SET ask_ts = excluded.ask_ts, failures = 0,
             revision = remote_device_lists.revision + 1",
        &[&user_id, &ask_ts],
    )?;
    Ok(())
}

/// Sets the `stream_id` of a current list after an update.
pub fn advance(tx: &mut Tx<'_>, user_id: &str, stream_id: i64) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE remote_device_lists SET stream_id = $2, revision = revision + 1 WHERE user_id = $1",
        &[&user_id, &stream_id],
    )?;
    Ok(())
}

/// Sets the cross-signing keys (JSON) that are given.
pub fn set_cross_signing(
    tx: &mut Tx<'_>,
    user_id: &str,
    master_key: Option<&str>,
    self_signing_key: Option<&str>,
) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE remote_device_lists SET master_key = COALESCE($2, master_key),
             self_signing_key = COALESCE($3, self_signing_key), revision = revision + 1 WHERE user_id = $1",
        &[&user_id, &master_key, &self_signing_key],
    )?;
    Ok(())
}

/// Returns how many devices a user has besides one, and the length of their keys in characters.
pub fn size_without(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<(u64, u64), DbError> {
    tx.query_one(
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(key_json)), 0) FROM remote_devices
         WHERE user_id = $1 AND device_id <> $2",
        &[&user_id, &device_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Sets the keys (JSON) of a device.
pub fn set_device(tx: &mut Tx<'_>, user_id: &str, device_id: &str, key_json: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO remote_devices (user_id, device_id, key_json) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, device_id) DO UPDATE SET key_json = excluded.key_json",
        &[&user_id, &device_id, &key_json],
    )?;
    Ok(())
}

/// Removes a device.
pub fn delete_device(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM remote_devices WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    Ok(())
}

/// Returns the users whose lists are to be requested at or before `now` (Unix ms), the longest waiting first.
pub fn due(tx: &mut Tx<'_>, now: u64, limit: u32) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT user_id FROM remote_device_lists WHERE ask_ts IS NOT NULL AND ask_ts <= $1 ORDER BY ask_ts LIMIT $2",
        &[&now, &limit],
        first,
    )
}

/// Returns when the next list is to be requested after `now`, in Unix ms.
pub fn next_due(tx: &mut Tx<'_>, now: u64) -> Result<Option<u64>, DbError> {
    tx.query_one("SELECT MIN(ask_ts) FROM remote_device_lists WHERE ask_ts IS NOT NULL AND ask_ts > $1", &[&now], first)
}

/// Postpones the next request for a list, after a failure, to `ask_ts` (Unix ms).
pub fn postpone(tx: &mut Tx<'_>, user_id: &str, ask_ts: u64) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE remote_device_lists SET ask_ts = $2, failures = failures + 1
         WHERE user_id = $1 AND ask_ts IS NOT NULL",
        &[&user_id, &ask_ts],
    )?;
    Ok(())
}

/// Returns the next tracked users, in order.
pub fn users_after(tx: &mut Tx<'_>, user_id: &str, limit: u32) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT user_id FROM remote_device_lists WHERE user_id > $1 ORDER BY user_id LIMIT $2",
        &[&user_id, &limit],
        first,
    )
}

/// Schedules requests for the outdated lists of a server's users at `now` (Unix ms), perhaps also for some others.
pub fn request_at_once(tx: &mut Tx<'_>, server: &str, now: u64) -> Result<u64, DbError> {
    tx.execute(
        "UPDATE remote_device_lists SET ask_ts = $2, failures = 0 WHERE ask_ts > $2 AND user_id LIKE '%:' || $1",
        &[&server, &now],
    )
}

/// Returns how many users are tracked.
pub fn count(tx: &mut Tx<'_>) -> Result<u64, DbError> {
    tx.query_one("SELECT COUNT(*) FROM remote_device_lists", &[], first)
}

/// Deletes the lists of these users; returns how many there were.
pub fn forget(tx: &mut Tx<'_>, user_ids: &[&str]) -> Result<u64, DbError> {
    let rows = || user_ids.iter().map(|user_id| [user_id.to_param()]);
    tx.insert_many_later("DELETE FROM remote_devices WHERE user_id = $1", rows())?;
    tx.insert_many("DELETE FROM remote_device_lists WHERE user_id = $1", rows())
}
