//! Device identity keys, cross-signing keys and signatures on them, of local users.

use crate::{Any, DbError, Tx, first};

/// The identity keys that a device published.
#[derive(Debug, Clone)]
pub struct DeviceKeys {
    pub user_id: String,
    pub device_id: String,
    /// The keys as uploaded, canonical JSON.
    pub key_json: String,
    pub display_name: Option<String>,
}

/// Returns the published keys of all devices of these users.
pub fn of_users(tx: &mut Tx, user_ids: &[&str]) -> Result<Vec<DeviceKeys>, DbError> {
    tx.query(
        "SELECT k.user_id, k.device_id, k.key_json, d.display_name FROM device_keys k
         LEFT JOIN devices d ON d.user_id = k.user_id AND d.device_id = k.device_id
         WHERE k.user_id = ANY($1) ORDER BY k.user_id, k.device_id",
        &[&Any(user_ids)],
        |row| {
            Ok(DeviceKeys {
                user_id: row.get(0)?,
                device_id: row.get(1)?,
                key_json: row.get(2)?,
                display_name: row.get(3)?,
            })
        },
    )
}

/// Returns the published keys of one device, as canonical JSON.
pub fn get(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT key_json FROM device_keys WHERE user_id = $1 AND device_id = $2",
        &[&user_id, &device_id],
        first,
    )
}

/// Stores the keys that a device publishes.
pub fn set(tx: &mut Tx, user_id: &str, device_id: &str, key_json: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO device_keys (user_id, device_id, key_json) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, device_id) DO UPDATE SET key_json = excluded.key_json",
        &[&user_id, &device_id, &key_json],
    )?;
    Ok(())
}

/// Deletes a device's keys and the signatures on them.
pub fn delete(tx: &mut Tx, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM device_keys WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    delete_signatures_on(tx, user_id, device_id)
}

/// A cross-signing key.
#[derive(Debug, Clone)]
pub struct CrossSigningKey {
    pub user_id: String,
    /// `master`, `self_signing` or `user_signing`.
    pub purpose: String,
    /// As uploaded, canonical JSON.
    pub key_json: String,
}

/// Returns the cross-signing keys of these users.
pub fn cross_signing_of_users(tx: &mut Tx, user_ids: &[&str]) -> Result<Vec<CrossSigningKey>, DbError> {
    tx.query(
        "SELECT user_id, purpose, key_json FROM cross_signing_keys WHERE user_id = ANY($1)",
        &[&Any(user_ids)],
        |row| Ok(CrossSigningKey { user_id: row.get(0)?, purpose: row.get(1)?, key_json: row.get(2)? }),
    )
}

/// Stores a cross-signing key. Returns `false` when it is stored already.
pub fn set_cross_signing(tx: &mut Tx, user_id: &str, purpose: &str, key_json: &str) -> Result<bool, DbError> {
    let changed = tx.execute(
        "INSERT INTO cross_signing_keys (user_id, purpose, key_json) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, purpose) DO UPDATE SET key_json = excluded.key_json
         WHERE cross_signing_keys.key_json <> excluded.key_json",
        &[&user_id, &purpose, &key_json],
    )?;
    Ok(changed == 1)
}

/// Deletes a user's cross-signing keys. Signatures stay: they belong to keys that are gone.
pub fn delete_cross_signing(tx: &mut Tx, user_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM cross_signing_keys WHERE user_id = $1", &[&user_id])?;
    Ok(())
}

/// Returns until when (Unix ms) a user may replace the cross-signing keys without user-interactive authentication.
pub fn cross_signing_reset_until(tx: &mut Tx, user_id: &str) -> Result<Option<u64>, DbError> {
    tx.query_opt("SELECT allowed_until_ts FROM cross_signing_reset WHERE user_id = $1", &[&user_id], first)
}

/// Lets a user replace the cross-signing keys without user-interactive authentication until `until_ts` (Unix ms).
pub fn allow_cross_signing_reset(tx: &mut Tx, user_id: &str, until_ts: u64) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO cross_signing_reset (user_id, allowed_until_ts) VALUES ($1, $2)
         ON CONFLICT (user_id) DO UPDATE SET allowed_until_ts = excluded.allowed_until_ts",
        &[&user_id, &until_ts],
    )?;
    Ok(())
}

/// A signature that was uploaded separately from the key it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub target_user_id: String,
    /// A device id, or the public part of a cross-signing key.
    pub target: String,
    pub signer_user_id: String,
    /// `ed25519:...`
    pub signer_key_id: String,
    pub signature: String,
}

/// Returns the signatures on these users' keys that `viewer` may see: those by the users themselves, and the viewer's
/// own.
pub fn signatures_on_users(tx: &mut Tx, user_ids: &[&str], viewer: &str) -> Result<Vec<Signature>, DbError> {
    tx.query(
        "SELECT target_user_id, target, signer_user_id, signer_key_id, signature FROM key_signatures
         WHERE target_user_id = ANY($1) AND (signer_user_id = target_user_id OR signer_user_id = $2)",
        &[&Any(user_ids), &viewer],
        |row| {
            Ok(Signature {
                target_user_id: row.get(0)?,
                target: row.get(1)?,
                signer_user_id: row.get(2)?,
                signer_key_id: row.get(3)?,
                signature: row.get(4)?,
            })
        },
    )
}

/// Stores a signature. Returns `false` when it is stored already.
pub fn add_signature(tx: &mut Tx, signature: &Signature) -> Result<bool, DbError> {
    let changed = tx.execute(
        "INSERT INTO key_signatures (target_user_id, target, signer_user_id, signer_key_id, signature)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (target_user_id, target, signer_user_id, signer_key_id)
         DO UPDATE SET signature = excluded.signature WHERE key_signatures.signature <> excluded.signature",
        &[
            &signature.target_user_id,
            &signature.target,
            &signature.signer_user_id,
            &signature.signer_key_id,
            &signature.signature,
        ],
    )?;
    Ok(changed == 1)
}

/// Deletes the signatures on one key of a user.
pub fn delete_signatures_on(tx: &mut Tx, user_id: &str, target: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM key_signatures WHERE target_user_id = $1 AND target = $2", &[&user_id, &target])?;
    Ok(())
}
