//! Stored filters.

use super::bounds::{self, BoundError};
use crate::{DbError, Tx};

/// The largest filter, in bytes: one that names a thousand rooms.
const MAX_FILTER_BYTES: usize = 64 * 1024;
/// The most filters of a user. A client has a few; they are never deleted, because clients refer to them by id.
const MAX_FILTERS_OF_USER: u64 = 2_000;
const MAX_BYTES_OF_USER: u64 = 8 * 1024 * 1024;

/// Stores a filter and returns its id; an equal definition gets the same id again.
///
/// # Errors
/// `TooLarge`, or the database's.
pub fn add(tx: &mut Tx<'_>, user_id: &str, definition: &str) -> Result<i64, BoundError> {
    bounds::require(definition.len() <= MAX_FILTER_BYTES, "The filter is larger than 64 KiB")?;
    let known = tx.query_opt(
        "SELECT filter_id FROM filters WHERE user_id = $1 AND definition = $2",
        &[&user_id, &definition],
        |row| row.get(0),
    )?;
    if let Some(id) = known {
        return Ok(id);
    }
    let (id, filters, bytes): (i64, u64, u64) = tx.query_one(
        "SELECT COALESCE(MAX(filter_id) + 1, 0), COUNT(*), COALESCE(SUM(OCTET_LENGTH(definition)), 0)
         FROM filters WHERE user_id = $1",
        &[&user_id],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let fits = filters < MAX_FILTERS_OF_USER && bytes + definition.len() as u64 <= MAX_BYTES_OF_USER;
    bounds::require(fits, "The user has too many filters")?;
    tx.execute_later(
        "INSERT INTO filters (user_id, filter_id, definition) VALUES ($1, $2, $3)",
        &[&user_id, &id, &definition],
    )?;
    Ok(id)
}

/// Returns the definition of a filter, as JSON text.
pub fn get(tx: &mut Tx<'_>, user_id: &str, filter_id: i64) -> Result<Option<String>, DbError> {
    tx.query_opt(
        "SELECT definition FROM filters WHERE user_id = $1 AND filter_id = $2",
        &[&user_id, &filter_id],
        |row| row.get(0),
    )
}
