//! How far the user directory is behind the rooms.

use std::time::Duration;

use plexus_base::Clock;
use tokio::sync::{Notify, watch};

/// Counts the commits that the user directory has to index. Owned by this process: counted on the writer thread.
#[derive(Debug)]
pub(crate) struct UserDirectoryProgress {
    /// The number of commits that changed something to be indexed.
    changed: watch::Sender<u64>,
    /// How many of them are indexed.
    indexed: watch::Sender<u64>,
    /// Notified when a search waits for the index.
    requested: Notify,
}

impl Default for UserDirectoryProgress {
    fn default() -> Self {
        // The first change stands for those that an earlier run of the program did not index.
        Self { changed: watch::Sender::new(1), indexed: watch::Sender::new(0), requested: Notify::new() }
    }
}

impl UserDirectoryProgress {
    /// Records a commit that changed something to be indexed.
    pub(crate) fn record_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Returns a receiver of the number of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Records that the first `count` changes are indexed.
    pub(crate) fn record_indexed(&self, count: u64) {
        self.indexed.send_replace(count);
    }

    /// Waits until a search waits for the index.
    pub(crate) async fn requested(&self) {
        self.requested.notified().await;
    }

    /// Waits until all present changes are indexed, at most for `timeout`.
    pub(crate) async fn catch_up(&self, clock: &Clock, timeout: Duration) {
        let changed = *self.changed.borrow();
        let mut indexed = self.indexed.subscribe();
        if *indexed.borrow() < changed {
            self.requested.notify_one();
        }
        tokio::select! {
            biased;
            _ = indexed.wait_for(|indexed| *indexed >= changed) => {}
            () = clock.sleep(timeout) => {}
        }
    }
}
