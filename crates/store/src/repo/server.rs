//! The server that the database belongs to.

use crate::{DbError, Tx};

/// Returns the server name that was recorded at the first start.
pub fn name(tx: &mut Tx<'_>) -> Result<Option<String>, DbError> {
    tx.query_opt("SELECT server_name FROM server WHERE id = 1", &[], |row| row.get(0))
}

/// Records the server name unless one is recorded; returns the recorded one. If that is another name, the caller must
/// not use the database.
pub fn claim(tx: &mut Tx<'_>, server_name: &str) -> Result<String, DbError> {
    tx.execute_later(
        "INSERT INTO server (id, server_name) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
        &[&server_name],
    )?;
    tx.query_one("SELECT server_name FROM server WHERE id = 1", &[], |row| row.get(0))
}
