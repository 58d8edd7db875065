//! Users of this server whose content was erased at their wish.

use super::other_changes;
use crate::{DbError, Tx, first};

/// Returns the erased users.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
    tx.query("SELECT user_id FROM users WHERE erased = 1", &[], first)
}

/// Marks a user as erased.
pub fn mark(tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
    tx.execute_later("UPDATE users SET erased = 1 WHERE user_id = $1", &[&user_id])?;
    other_changes::record_erasure(tx, user_id)
}
