//! The last presence of local users.

use crate::{DbError, Tx};

/// A user's last presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPresence {
    pub user_id: String,
    /// `online`, `unavailable` or `offline`.
    pub presence: String,
    pub status_msg: Option<String>,
    /// Unix ms.
    pub last_active_ts: u64,
}

/// Returns the last presence of a user.
pub fn get(tx: &mut Tx<'_>, user_id: &str) -> Result<Option<StoredPresence>, DbError> {
    tx.query_opt(
        "SELECT user_id, presence, status_msg, last_active_ts FROM presence WHERE user_id = $1",
        &[&user_id],
        |row| {
            Ok(StoredPresence {
                user_id: row.get(0)?,
                presence: row.get(1)?,
                status_msg: row.get(2)?,
                last_active_ts: row.get(3)?,
            })
        },
    )
}

/// Stores the last presence of a user.
pub fn set(tx: &mut Tx<'_>, stored: &StoredPresence) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO presence (user_id, presence, status_msg, last_active_ts) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE SET presence = excluded.presence, status_msg = excluded.status_msg,
         last_active_ts = excluded.last_active_ts",
        &[&stored.user_id, &stored.presence, &stored.status_msg, &stored.last_active_ts],
    )?;
    Ok(())
}
