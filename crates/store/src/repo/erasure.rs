//! Users who have asked for their content to be erased.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Database, DbError, Tx, first};
use parking_lot::RwLock;

/// The erased users of this server. They are looked up for every event that is shown to somebody who was not in the
/// room when it was sent, and there are few of them: all are kept in memory.
#[derive(Debug, Clone, Default)]
pub struct ErasedUsers(Arc<RwLock<HashSet<String>>>);

impl ErasedUsers {
    /// Reads who has been erased so far; to be called before any event is shown.
    pub async fn load(&self, db: &Database) -> Result<(), DbError> {
        let erased: Vec<String> =
            db.read(|tx| tx.query("SELECT user_id FROM users WHERE erased = 1", &[], first)).await?;
        self.0.write().extend(erased);
        Ok(())
    }

    /// Whether nobody has been erased.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Whether the user has been erased.
    #[must_use]
    pub fn contains(&self, user_id: &str) -> bool {
        self.0.read().contains(user_id)
    }

    /// Marks a user as erased.
    pub fn mark(&self, tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
        tx.execute_later("UPDATE users SET erased = 1 WHERE user_id = $1", &[&user_id])?;
        let (erased, user_id) = (Arc::clone(&self.0), user_id.to_owned());
        tx.after_commit(move || {
            erased.write().insert(user_id);
        });
        Ok(())
    }
}
