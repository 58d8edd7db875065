//! Profile fields of local users.

use super::{other_changes, user_directory};
use crate::{DbError, Tx};

/// The longest display name and avatar address, in characters (as Synapse).
const MAX_DISPLAYNAME: usize = 256;
const MAX_AVATAR_URL: usize = 1_000;

/// How many characters the text of a field may have; `None` for those that only the whole profile's size bounds.
#[must_use]
pub fn longest(field: &str) -> Option<usize> {
    match field {
        "displayname" => Some(MAX_DISPLAYNAME),
        "avatar_url" => Some(MAX_AVATAR_URL),
        _ => None,
    }
}

/// Sets a field to a JSON value.
pub fn set(tx: &mut Tx<'_>, user_id: &str, field: &str, value: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO profile_fields (user_id, field, value) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value",
        &[&user_id, &field, &value],
    )?;
    changed(tx, user_id, longest(field).is_some())
}

/// Removes a field.
pub fn delete(tx: &mut Tx<'_>, user_id: &str, field: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM profile_fields WHERE user_id = $1 AND field = $2", &[&user_id, &field])?;
    changed(tx, user_id, longest(field).is_some())
}

/// Removes all fields.
pub fn erase(tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM profile_fields WHERE user_id = $1", &[&user_id])?;
    changed(tx, user_id, true)
}

/// `in_directory`: users are found by what has changed, or shown with it.
fn changed(tx: &mut Tx<'_>, user_id: &str, in_directory: bool) -> Result<(), DbError> {
    other_changes::record_profile(tx, user_id)?;
    if in_directory { user_directory::index_local(tx, user_id) } else { Ok(()) }
}

/// All fields of a user, as the transaction sees them, as far as they can be read: name and JSON value, by name.
pub fn all(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<(String, String)>, DbError> {
    let select = "SELECT field, value FROM profile_fields WHERE user_id = $1 ORDER BY field";
    let fields: Vec<(String, String)> = tx.query(select, &[&user_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let value = |(field, value): (String, String)| {
        let value = crate::readable_json(value, || format!("profile_fields, {user_id}, field {field:?}"))?;
        Some((field, value))
    };
    Ok(fields.into_iter().filter_map(value).collect())
}
