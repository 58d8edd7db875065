//! Profile fields of local users.

use crate::{DbError, Tx};

/// All fields of a user: name and JSON value.
pub fn all(tx: &mut Tx<'_>, user_id: &str) -> Result<Vec<(String, String)>, DbError> {
    tx.query("SELECT field, value FROM profile_fields WHERE user_id = $1 ORDER BY field", &[&user_id], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// One field's JSON value.
pub fn get(tx: &mut Tx<'_>, user_id: &str, field: &str) -> Result<Option<String>, DbError> {
    tx.query_opt("SELECT value FROM profile_fields WHERE user_id = $1 AND field = $2", &[&user_id, &field], |row| {
        row.get(0)
    })
}

/// Sets a field to a JSON value.
pub fn set(tx: &mut Tx<'_>, user_id: &str, field: &str, value: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO profile_fields (user_id, field, value) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value",
        &[&user_id, &field, &value],
    )?;
    Ok(())
}

/// Removes a field.
pub fn delete(tx: &mut Tx<'_>, user_id: &str, field: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM profile_fields WHERE user_id = $1 AND field = $2", &[&user_id, &field])?;
    Ok(())
}
