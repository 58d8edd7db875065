//! A cache of the profiles of this server's users.

use std::sync::Arc;

use parking_lot::Mutex;
use plexus_store::repo::profiles;
use plexus_store::{Change, CommitListener, Database, DbError};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// The fields of a profile, name and JSON value, in order of name.
pub(crate) type Fields = Arc<[(String, String)]>;

/// Profiles in memory. Owned by this process, which follows the commits and drops profiles that change.
pub struct ProfileCache {
    db: Database,
    cache: Cache<String, Fields, ByBytes>,
    /// The number of changes. A profile that was read before a change must not be inserted after it.
    changes: Mutex<u64>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Fields> for ByBytes {
    fn weight(&self, user_id: &String, fields: &Fields) -> u64 {
        let texts: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        // An entry and each field take more than their text.
        (user_id.len() + texts + 128 + fields.len() * 64) as u64
    }
}

impl ProfileCache {
    /// Creates a cache of at most `bytes`.
    #[must_use]
    pub fn new(db: Database, bytes: usize) -> Self {
        let cache = Cache::with_weighter(bytes / 256, bytes as u64, ByBytes);
        Self { db, cache, changes: Mutex::default() }
    }

    /// Returns the number of profiles, and their approximate size in bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        (self.cache.len() as u64, self.cache.weight())
    }

    /// Returns a user's fields, from memory or the database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, user_id: &str) -> Result<Fields, DbError> {
        if let Some(fields) = self.cache.get(user_id) {
            return Ok(fields);
        }
        let changes = *self.changes.lock();
        let user_id = user_id.to_owned();
        let read = self.db.read(move |tx| profiles::all(tx, &user_id).map(|fields| (user_id, fields)));
        let (user_id, fields) = read.await?;
        let fields = Fields::from(fields);
        let now = self.changes.lock();
        if *now == changes {
            self.cache.insert(user_id, Arc::clone(&fields));
        }
        Ok(fields)
    }
}

impl CommitListener for ProfileCache {
    fn apply(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Profile { user, .. } => {
                    *self.changes.lock() += 1;
                    self.cache.remove(user);
                }
                Change::Missed { .. } => {
                    *self.changes.lock() += 1;
                    self.cache.clear();
                }
                _ => {}
            }
        }
    }
}
