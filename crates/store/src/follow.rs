//! Following the log of a database that another process writes to.

use crate::repo::log::{self, LogPage};
use crate::{Database, DbError, Position};

/// About how many events are read from the log at a time.
const EVENTS_AT_ONCE: u32 = 1_000;

/// Brings memory up to date with what another process has committed. Returns the position up to which it is then.
/// Changes nothing where this process writes. One task does this at a time.
///
/// # Errors
/// When the database fails. Memory is then as far as [`Database::committed`] says.
pub async fn follow(db: &Database) -> Result<Position, DbError> {
    loop {
        let before = db.committed();
        let LogPage { changes, upto } = db.read(move |tx| log::changes_after(tx, before, EVENTS_AT_ONCE)).await?;
        if upto == before {
            return Ok(before);
        }
        db.apply(changes, upto);
    }
}
