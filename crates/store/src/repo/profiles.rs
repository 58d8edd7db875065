//! Profile fields of local users.

use super::{other_changes, user_directory};
use crate::{Any, DbError, Position, Tx};

/// The longest display name and avatar address, in characters (as Synapse).
const MAX_DISPLAYNAME: usize = 256;
const MAX_AVATAR_URL: usize = 1_000;

/// The most fields of a profile whose last changes are kept, so that fields that come and go leave no rows.
const MAX_CHANGES_OF_USER: i64 = 1_000;

/// A field of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileField {
    pub user_id: String,
    pub field: String,
    /// JSON; `None`: the field was removed.
    pub value: Option<String>,
}

/// A place in the order of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePlace {
    position: Position,
    user_id: String,
    field: String,
}

impl ChangePlace {
    /// The place after everything that changed at or before a position.
    #[must_use]
    pub fn after(position: Position) -> Self {
        Self { position: position.saturating_add(1), user_id: String::new(), field: String::new() }
    }
}

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
    record_change(tx, user_id, field)
}

/// Removes a field.
pub fn delete(tx: &mut Tx<'_>, user_id: &str, field: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM profile_fields WHERE user_id = $1 AND field = $2", &[&user_id, &field])?;
    record_change(tx, user_id, field)
}

/// Removes all fields.
pub fn erase(tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
    let position = other_changes::record_profile(tx, user_id)?;
    tx.execute_later(
        "INSERT INTO profile_changes (user_id, field, position)
         SELECT user_id, field, CAST($2 AS BIGINT) FROM profile_fields WHERE user_id = $1
         ON CONFLICT (user_id, field) DO UPDATE SET position = excluded.position",
        &[&user_id, &position],
    )?;
    tx.execute_later("DELETE FROM profile_fields WHERE user_id = $1", &[&user_id])?;
    user_directory::index_local(tx, user_id)
}

fn record_change(tx: &mut Tx<'_>, user_id: &str, field: &str) -> Result<(), DbError> {
    let position = other_changes::record_profile(tx, user_id)?;
    tx.execute_later(
        "INSERT INTO profile_changes (user_id, field, position) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, field) DO UPDATE SET position = excluded.position",
        &[&user_id, &field, &position],
    )?;
    tx.execute_later(
        "DELETE FROM profile_changes WHERE user_id = $1 AND position <=
             (SELECT position FROM profile_changes WHERE user_id = $1 ORDER BY position DESC LIMIT 1 OFFSET $2)",
        &[&user_id, &MAX_CHANGES_OF_USER],
    )?;
    // Users are found by these fields, or shown with them.
    if longest(field).is_some() { user_directory::index_local(tx, user_id) } else { Ok(()) }
}

/// Returns the fields among these (`None`: all) that were set or removed after a place and at or before `upto`, with
/// the values that they have now: the earliest `limit`, and the place of the last of them if there may be more.
pub fn changed(
    tx: &mut Tx<'_>,
    fields: Option<&[&str]>,
    after: &ChangePlace,
    upto: Position,
    limit: usize,
) -> Result<(Vec<ProfileField>, Option<ChangePlace>), DbError> {
    let ChangePlace { position, user_id, field } = after;
    let (names, is_all) = (Any(fields.unwrap_or_default()), i64::from(fields.is_none()));
    let rows: Vec<(Position, ProfileField)> = tx.query(
        "SELECT c.user_id, c.field, p.value, c.position FROM profile_changes c
         LEFT JOIN profile_fields p ON p.user_id = c.user_id AND p.field = c.field
         WHERE c.position >= $1 AND c.position <= $2 AND (c.field = ANY($3) OR CAST($4 AS BIGINT) = 1)
           AND (c.position > $1 OR c.user_id > $5 OR (c.user_id = $5 AND c.field > $6))
         ORDER BY c.position, c.user_id, c.field LIMIT $7",
        &[position, &upto, &names, &is_all, user_id, field, &(limit as u64)],
        |row| Ok((row.get(3)?, ProfileField { user_id: row.get(0)?, field: row.get(1)?, value: row.get(2)? })),
    )?;
    let last = rows.last().filter(|_| rows.len() >= limit).map(|(position, row)| ChangePlace {
        position: *position,
        user_id: row.user_id.clone(),
        field: row.field.clone(),
    });
    Ok((readable(rows.into_iter().map(|(_, row)| row).collect()), last))
}

/// Returns the fields among these (`None`: all) that the users have.
pub fn of_users(tx: &mut Tx<'_>, users: &[&str], fields: Option<&[&str]>) -> Result<Vec<ProfileField>, DbError> {
    let rows: Vec<ProfileField> = tx.query(
        "SELECT user_id, field, value FROM profile_fields
         WHERE user_id = ANY($1) AND (field = ANY($2) OR CAST($3 AS BIGINT) = 1)",
        &[&Any(users), &Any(fields.unwrap_or_default()), &i64::from(fields.is_none())],
        |row| Ok(ProfileField { user_id: row.get(0)?, field: row.get(1)?, value: row.get(2)? }),
    )?;
    Ok(readable(rows))
}

/// Returns the fields that were removed or whose values can be read.
fn readable(rows: Vec<ProfileField>) -> Vec<ProfileField> {
    let readable = |row: ProfileField| {
        let ProfileField { user_id, field, value } = row;
        let place = || format!("profile_fields, {user_id}, field {field:?}");
        let value = match value {
            Some(value) => Some(crate::readable_json(value, place)?),
            None => None,
        };
        Some(ProfileField { user_id, field, value })
    };
    rows.into_iter().filter_map(readable).collect()
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
