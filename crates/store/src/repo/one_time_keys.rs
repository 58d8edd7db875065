//! One-time keys and fallback keys of local devices.

use std::collections::BTreeMap;

use crate::{DbError, Tx, first};

/// A key to be stored, or a stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub algorithm: String,
    pub key_id: String,
    /// A JSON string (`curve25519`) or object (`signed_curve25519`), canonical.
    pub key_json: String,
}

/// The stored one-time key with this id, canonical JSON.
pub fn get(
    tx: &mut Tx,
    user_id: &str,
    device_id: &str,
    algorithm: &str,
    key_id: &str,
) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT key_json FROM one_time_keys WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 AND key_id = $4",
        &[&user_id, &device_id, &algorithm, &key_id],
        first,
    )
}

/// Stores one-time keys, the first of `keys` to be given out first. Their ids must not be stored yet.
pub fn insert(tx: &mut Tx, user_id: &str, device_id: &str, keys: &[Key]) -> Result<(), DbError> {
    let newest: i64 = tx.query_one(
        "SELECT COALESCE(MAX(serial), 0) FROM one_time_keys WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
        first,
    )?;
    for (serial, key) in (newest + 1..).zip(keys) {
        tx.execute(
            "INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, serial, key_json)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[&user_id, &device_id, &key.algorithm, &key.key_id, &serial, &key.key_json],
        )?;
    }
    Ok(())
}

/// How many one-time keys a device has of each algorithm. Algorithms without keys are absent.
pub fn counts(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<BTreeMap<String, u64>, DbError> {
    let counts = tx.query(
        "SELECT algorithm, COUNT(*) FROM one_time_keys WHERE user_id = $1 AND device_id = $2 GROUP BY algorithm",
        &[&user_id, &device_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(counts.into_iter().collect())
}

/// Takes the oldest one-time key of an algorithm: it is deleted in this transaction and never given out again. `None`
/// when the device has none left.
pub fn take_oldest(tx: &mut Tx, user_id: &str, device_id: &str, algorithm: &str) -> Result<Option<Key>, DbError> {
    loop {
        let oldest = tx.query_opt(
            "SELECT key_id, key_json FROM one_time_keys WHERE user_id = $1 AND device_id = $2 AND algorithm = $3
             ORDER BY serial, key_id LIMIT 1",
            &[&user_id, &device_id, &algorithm],
            |row| Ok(Key { algorithm: algorithm.to_owned(), key_id: row.get(0)?, key_json: row.get(1)? }),
        )?;
        let Some(key) = oldest else { return Ok(None) };
        let deleted = tx.execute(
            "DELETE FROM one_time_keys WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 AND key_id = $4",
            &[&user_id, &device_id, &algorithm, &key.key_id],
        )?;
        // Zero: another process took it between the two statements.
        if deleted == 1 {
            return Ok(Some(key));
        }
    }
}

/// Replaces the fallback key of an algorithm. A key with the id that is stored already stays, used or not.
pub fn set_fallback(tx: &mut Tx, user_id: &str, device_id: &str, key: &Key) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, key_json, used)
         VALUES ($1, $2, $3, $4, $5, 0)
         ON CONFLICT (user_id, device_id, algorithm) DO UPDATE
         SET key_id = excluded.key_id, key_json = excluded.key_json, used = 0
         WHERE fallback_keys.key_id <> excluded.key_id OR fallback_keys.key_json <> excluded.key_json",
        &[&user_id, &device_id, &key.algorithm, &key.key_id, &key.key_json],
    )?;
    Ok(())
}

/// The fallback key of an algorithm, which from now on counts as used. The flag tells whether it was unused before.
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
        tx.execute(
            "UPDATE fallback_keys SET used = 1 WHERE user_id = $1 AND device_id = $2 AND algorithm = $3",
            &[&user_id, &device_id, &algorithm],
        )?;
    }
    Ok(found)
}

/// The algorithms for which a device has a fallback key that was not given out yet.
pub fn unused_fallback_types(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT algorithm FROM fallback_keys WHERE user_id = $1 AND device_id = $2 AND used = 0 ORDER BY algorithm",
        &[&user_id, &device_id],
        first,
    )
}

/// Deletes every one-time and fallback key of a device.
pub fn delete_of_device(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM one_time_keys WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    tx.execute("DELETE FROM fallback_keys WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    Ok(())
}
