//! The erased users of this server.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use plexus_store::{Database, DbError, repo};

/// The erased users. Owned by this process, which follows the commits. All are in memory: there are few, and the sender
/// of every event is looked up that is shown to a user who was not joined when it was sent.
#[derive(Debug, Clone, Default)]
pub struct ErasedUsers(Arc<RwLock<HashSet<String>>>);

impl ErasedUsers {
    /// Reads the users erased so far. Called before any event is shown.
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
