//! One-time keys and fallback keys of local devices.

use std::collections::BTreeMap;

use plexus_protocol::id::UserId;

use super::other_changes;
use crate::{Any, DbError, ToSql, Tx, first};

/// A one-time or fallback key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub algorithm: String,
    pub key_id: String,
    /// A JSON string (`curve25519`) or object (`signed_curve25519`), canonical.
    pub key_json: String,
}

/// A device and its one-time keys.
#[derive(Debug, Default)]
pub struct DeviceOneTimeKeys {
    /// Whether the device exists.
    pub exists: bool,
    /// The number of keys of each algorithm; algorithms without keys are absent.
    pub counts: BTreeMap<String, u64>,
    /// The serial of the newest key; 0 when there is none.
    pub newest: i64,
    /// The keys with the requested ids.
    pub keys: Vec<Key>,
}

/// Announces that the number of a device's one-time keys, or its unused fallback keys, changed.
pub fn announce_change(tx: &mut Tx, user: &UserId, device_id: &str) -> Result<(), DbError> {
    other_changes::record_one_time_keys(tx, user, device_id)
}

/// Returns a device's one-time keys and those with the given ids. One statement, because key uploads are frequent.
pub fn of_device(tx: &mut Tx, user_id: &str, device_id: &str, key_ids: &[&str]) -> Result<DeviceOneTimeKeys, DbError> {
    let mut found = DeviceOneTimeKeys::default();
    tx.for_each(
        "SELECT algorithm, NULL, NULL, COUNT(*), MAX(serial) FROM one_time_keys
         WHERE user_id = $1 AND device_id = $2 GROUP BY algorithm
         UNION ALL
         SELECT device_id, NULL, NULL, 0, 0 FROM devices WHERE user_id = $1 AND device_id = $2
         UNION ALL
         SELECT algorithm, key_id, key_json, 0, serial FROM one_time_keys
         WHERE user_id = $1 AND device_id = $2 AND key_id = ANY($3)",
        &[&user_id, &device_id, &Any(key_ids)],
        |row| {
            let (algorithm, key_id, count): (String, Option<String>, u64) = (row.get(0)?, row.get(1)?, row.get(3)?);
            match key_id {
                Some(key_id) => found.keys.push(Key { algorithm, key_id, key_json: row.get(2)? }),
                None if count == 0 => found.exists = true,
                None => drop(found.counts.insert(algorithm, count)),
            }
            found.newest = found.newest.max(row.get(4)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Stores one-time keys of a user's device, which are claimed in the order of `keys` and after the serial `newest`.
/// Their ids must not be stored yet.
pub fn insert(tx: &mut Tx, (user_id, device_id): (&str, &str), newest: i64, keys: &[Key]) -> Result<(), DbError> {
    let serials: Vec<i64> = (newest + 1..).take(keys.len()).collect();
    tx.insert_many_later(
        "INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, serial, key_json)
         VALUES ($1, $2, $3, $4, $5, $6)",
        keys.iter().zip(&serials).map(|(key, serial)| {
            [
                user_id.to_param(),
                device_id.to_param(),
                key.algorithm.to_param(),
                key.key_id.to_param(),
                serial.to_param(),
                key.key_json.to_param(),
            ]
        }),
    )?;
    Ok(())
}

/// Returns how many one-time keys a device has of each algorithm. Algorithms without keys are absent.
pub fn counts(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<BTreeMap<String, u64>, DbError> {
    let counts = tx.query(
        "SELECT algorithm, COUNT(*) FROM one_time_keys WHERE user_id = $1 AND device_id = $2 GROUP BY algorithm",
        &[&user_id, &device_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(counts.into_iter().collect())
}

/// The keys that a device still has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemainingKeys {
    /// How many one-time keys there are of each algorithm.
    pub counts: BTreeMap<String, u64>,
    pub unused_fallback_types: Vec<String>,
}

/// The remaining keys of a user's devices, by device id.
pub type UserKeys = BTreeMap<String, RemainingKeys>;

/// Returns the remaining keys of a user's devices; a device that has published none is among them.
pub fn of_user(tx: &mut Tx, user_id: &str) -> Result<UserKeys, DbError> {
    let devices: Vec<String> = tx.query("SELECT device_id FROM devices WHERE user_id = $1", &[&user_id], first)?;
    let mut keys = UserKeys::new();
    for device in devices {
        let counts = counts(tx, user_id, &device)?;
        let unused_fallback_types = unused_fallback_types(tx, user_id, &device)?;
        keys.insert(device, RemainingKeys { counts, unused_fallback_types });
    }
    Ok(keys)
}

/// A claimed key: user, device and key.
pub type ClaimedKey = (String, String, Key);

/// Claims the oldest one-time key for each (user, device, algorithm), which must be distinct: the key is deleted in
/// this transaction and never returned again. Devices without keys are absent.
pub fn take_oldest(tx: &mut Tx, wanted: &[(&str, &str, &str)]) -> Result<Vec<ClaimedKey>, DbError> {
    tx.insert_many_returning(
        "DELETE FROM one_time_keys
         WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 AND key_id = (SELECT k.key_id FROM one_time_keys k
             WHERE k.user_id = $1 AND k.device_id = $2 AND k.algorithm = $3 ORDER BY k.serial, k.key_id LIMIT 1)
         RETURNING user_id, device_id, algorithm, key_id, key_json",
        wanted
            .iter()
            .map(|(user_id, device_id, algorithm)| [user_id.to_param(), device_id.to_param(), algorithm.to_param()]),
        |row| {
            Ok((row.get(0)?, row.get(1)?, Key { algorithm: row.get(2)?, key_id: row.get(3)?, key_json: row.get(4)? }))
        },
    )
}

/// Replaces the fallback key of an algorithm. A stored key with the same id stays, used or not.
pub fn set_fallback(tx: &mut Tx, user_id: &str, device_id: &str, key: &Key) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, key_json, used)
         VALUES ($1, $2, $3, $4, $5, 0)
         ON CONFLICT (user_id, device_id, algorithm) DO UPDATE
         SET key_id = excluded.key_id, key_json = excluded.key_json, used = 0
         WHERE fallback_keys.key_id <> excluded.key_id OR fallback_keys.key_json <> excluded.key_json",
        &[&user_id, &device_id, &key.algorithm, &key.key_id, &key.key_json],
    )?;
    Ok(())
}

/// Returns how many fallback keys a device has.
pub fn fallback_keys(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<u64, DbError> {
    tx.query_one(
        "SELECT COUNT(*) FROM fallback_keys WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
        first,
    )
}

/// Returns the fallback key of an algorithm and marks it as used. The flag says whether it was unused before.
pub fn use_fallback(
    tx: &mut Tx,
    user_id: &str,
    device_id: &str,
    algorithm: &str,
) -> Result<Option<(Key, bool)>, DbError> {
    let found = tx.query_opt(
        "SELECT key_id, key_json, used FROM fallback_keys WHERE user_id = $1 AND device_id = $2 AND algorithm = $3",
        &[&user_id, &device_id, &algorithm],
        |row| {
            let key = Key { algorithm: algorithm.to_owned(), key_id: row.get(0)?, key_json: row.get(1)? };
            let used: bool = row.get(2)?;
            Ok((key, !used))
        },
    )?;
    if let Some((_, true)) = found {
        tx.execute_later(
            "UPDATE fallback_keys SET used = 1 WHERE user_id = $1 AND device_id = $2 AND algorithm = $3",
            &[&user_id, &device_id, &algorithm],
        )?;
    }
    Ok(found)
}

/// Returns the algorithms for which a device has an unused fallback key.
pub fn unused_fallback_types(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT algorithm FROM fallback_keys WHERE user_id = $1 AND device_id = $2 AND used = 0 ORDER BY algorithm",
        &[&user_id, &device_id],
        first,
    )
}

/// Deletes all one-time and fallback keys of a device.
pub fn delete_of_device(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM one_time_keys WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    tx.execute_later("DELETE FROM fallback_keys WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    Ok(())
}
