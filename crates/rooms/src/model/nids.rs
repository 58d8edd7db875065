//! Numbers for events, rooms and snapshots, from blocks that are reserved in the database.

use std::ops::Range;

use plexus_store::{Database, DbError, repo};
use tokio::sync::Mutex;

/// The number of numbers in a block.
const BLOCK_SIZE: i64 = 10_000;

/// Allocates numbers that no process has allocated before. Owned by this process, for which the blocks are reserved.
pub struct Nids {
    db: Database,
    left: Mutex<Range<i64>>,
}

impl Nids {
    pub fn new(db: Database) -> Self {
        Self { db, left: Mutex::new(0..0) }
    }

    /// Allocates `count` numbers in a row. Returns the first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take(&self, count: i64) -> Result<i64, DbError> {
        let mut left = self.left.lock().await;
        if left.end - left.start < count {
            let size = BLOCK_SIZE.max(count);
            let first = self.db.write(move |tx| repo::nids::reserve(tx, size)).await?;
            *left = first..first + size;
        }
        let first = left.start;
        left.start += count;
        Ok(first)
    }
}
