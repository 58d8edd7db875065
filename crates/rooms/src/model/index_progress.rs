//! How far an index is behind the log: the user directory, or the index of messages.

use std::time::Duration;

use plexus_base::Clock;
use tokio::sync::{Notify, watch};

/// Counts the commits that an index has to follow. Owned by this process: counted on the writer thread.
#[derive(Debug)]
pub struct IndexProgress {
    /// The number of commits that changed something to be indexed.
    changed: watch::Sender<u64>,
    /// How many of them are indexed.
    indexed: watch::Sender<u64>,
    /// Notified when a search waits for the index.
    requested: Notify,
}

impl Default for IndexProgress {
    fn default() -> Self {
        // The first change stands for those that an earlier run of the program did not index.
        Self { changed: watch::Sender::new(1), indexed: watch::Sender::new(0), requested: Notify::new() }
    }
}

impl IndexProgress {
    /// Records a commit that changed something to be indexed.
    pub fn record_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Returns a receiver of the number of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Records that the first `count` changes are indexed.
    pub fn record_indexed(&self, count: u64) {
        self.indexed.send_replace(count);
    }

    /// Waits until a search waits for the index.
    pub async fn requested(&self) {
        self.requested.notified().await;
    }

    /// Waits until all present changes are indexed, at most for `timeout`.
    pub async fn catch_up(&self, clock: &Clock, timeout: Duration) {
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
