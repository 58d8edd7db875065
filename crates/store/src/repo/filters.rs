//! Stored filters.

use crate::{DbError, Tx};

/// Stores a filter and returns its id; the same definition gets the same id again.
pub fn add(tx: &mut Tx<'_>, user_id: &str, definition: &str) -> Result<i64, DbError> {
    let known = tx.query_opt(
        "SELECT filter_id FROM filters WHERE user_id = $1 AND definition = $2",
        &[&user_id, &definition],
        |row| row.get(0),
    )?;
    if let Some(id) = known {
        return Ok(id);
    }
    let id: i64 =
        tx.query_one("SELECT COALESCE(MAX(filter_id) + 1, 0) FROM filters WHERE user_id = $1", &[&user_id], |row| {
            row.get(0)
        })?;
    tx.execute_later(
        "INSERT INTO filters (user_id, filter_id, definition) VALUES ($1, $2, $3)",
        &[&user_id, &id, &definition],
    )?;
    Ok(id)
}

/// The definition of a filter, as JSON text.
pub fn get(tx: &mut Tx<'_>, user_id: &str, filter_id: i64) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT definition FROM filters WHERE user_id = $1 AND filter_id = $2",
        &[&user_id, &filter_id],
        |row| row.get(0),
    )
}
