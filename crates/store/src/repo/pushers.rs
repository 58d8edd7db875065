//! Pushers: the targets of a user's notifications.

use super::bounds::{self, BoundError};
use crate::{DbError, Position, Row, Tx, first};

/// The longest display text, in bytes. `app_id` and `pushkey` have their own limits.
const MAX_TEXT_BYTES: usize = 1_024;
/// The largest `data`, in bytes of JSON: it is sent with every notification.
const MAX_DATA_BYTES: usize = 16 * 1024;
/// The most pushers of a user: every notification goes to each.
const MAX_PUSHERS_OF_USER: u64 = 500;

/// A pusher as its user set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pusher {
    pub app_id: String,
    pub pushkey: String,
    /// `http` or `email`.
    pub kind: String,
    pub app_display_name: String,
    pub device_display_name: String,
    pub profile_tag: Option<String>,
    pub lang: String,
    /// The pusher's data, a JSON object as text.
    pub data: String,
    /// The device whose session set it; the pusher is deleted with the session.
    pub device_id: Option<String>,
    /// Unix ms.
    pub created_ts: u64,
    /// Everything at or before this position has been pushed or needs no push.
    pub pushed_to: Position,
}

fn read(row: &Row<'_>) -> Result<Pusher, DbError> {
    Ok(Pusher {
        app_id: row.get(0)?,
        pushkey: row.get(1)?,
        kind: row.get(2)?,
        app_display_name: row.get(3)?,
        device_display_name: row.get(4)?,
        profile_tag: row.get(5)?,
        lang: row.get(6)?,
        data: row.get(7)?,
        device_id: row.get(8)?,
        created_ts: row.get(9)?,
        pushed_to: row.get(10)?,
    })
}

/// Returns a user's pushers, oldest first.
pub fn of_user(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<Pusher>, DbError> {
    tx.query(
        "SELECT app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, device_id,
         created_ts, pushed_to FROM pushers WHERE user_id = $1 ORDER BY created_ts, app_id, pushkey",
        &[&user_id],
        read,
    )
}

/// Adds or replaces a pusher.
///
/// # Errors
/// `TooLarge`, or the database's.
pub fn set(tx: &mut Tx<'_>, user_id: &str, pusher: &Pusher) -> Result<(), BoundError> {
    let texts = [&pusher.kind, &pusher.app_display_name, &pusher.device_display_name, &pusher.lang];
    let fits = |text: &String| text.len() <= MAX_TEXT_BYTES;
    let texts_fit = texts.into_iter().chain(&pusher.profile_tag).all(fits);
    bounds::require(texts_fit, "A text of the pusher is longer than 1024 bytes")?;
    bounds::require(pusher.data.len() <= MAX_DATA_BYTES, "The pusher's data is larger than 16 KiB")?;
    let others: u64 = tx.query_one(
        "SELECT COUNT(*) FROM pushers WHERE user_id = $1 AND NOT (app_id = $2 AND pushkey = $3)",
        &[&user_id, &pusher.app_id, &pusher.pushkey],
        first,
    )?;
    bounds::require(others < MAX_PUSHERS_OF_USER, "The user has too many pushers")?;
    tx.execute_later(
        "INSERT INTO pushers (user_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang,
         data, device_id, created_ts, pushed_to) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET kind = excluded.kind,
         app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
         profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data,
         device_id = excluded.device_id",
        &[
            &user_id,
            &pusher.app_id,
            &pusher.pushkey,
            &pusher.kind,
            &pusher.app_display_name,
            &pusher.device_display_name,
            &pusher.profile_tag,
            &pusher.lang,
            &pusher.data,
            &pusher.device_id,
            &pusher.created_ts,
            &pusher.pushed_to,
        ],
    )?;
    Ok(())
}

/// Deletes a pusher if it exists.
pub fn delete(tx: &mut Tx<'_>, user_id: &str, app_id: &str, pushkey: &str) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
        &[&user_id, &app_id, &pushkey],
    )?;
    Ok(())
}

/// Deletes the pusher with this key from all other users (`append: false`).
pub fn delete_for_others(tx: &mut Tx<'_>, user_id: &str, app_id: &str, pushkey: &str) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM pushers WHERE user_id <> $1 AND app_id = $2 AND pushkey = $3",
        &[&user_id, &app_id, &pushkey],
    )?;
    Ok(())
}

/// Deletes the pushers that a device's session set.
pub fn delete_of_device(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM pushers WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    Ok(())
}

/// Deletes all pushers of a user.
pub fn delete_all(tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM pushers WHERE user_id = $1", &[&user_id])?;
    Ok(())
}
