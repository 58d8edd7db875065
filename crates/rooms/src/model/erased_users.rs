//! Users of this server whose content was erased.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use plexus_store::{Database, DbError, repo};

/// The erased users. Owned by this process: it follows the commits. They are looked up for every event that is shown to
/// somebody who was not in the room when it was sent, and there are few of them: all are kept in memory.
#[derive(Debug, Clone, Default)]
pub struct ErasedUsers(Arc<RwLock<HashSet<String>>>);

impl ErasedUsers {
    /// Reads who has been erased so far; to be called before any event is shown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(&self, db: &Database) -> Result<(), DbError> {
        let erased = db.read(repo::erasure::all).await?;
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

    /// Adds a user.
    pub(crate) fn add(&self, user_id: &str) {
        self.0.write().insert(user_id.to_owned());
    }
}
