//! Waits before destinations are tried again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::time::Duration;

use plexus_base::Clock;
use tokio::task::{AbortHandle, JoinSet};

/// A wait before a destination counts as having come back.
pub(super) struct Pause<K> {
    pub(super) key: K,
    pub(super) length: Duration,
    /// Whether the destination has failed: its next delivery ends the pause.
    pub(super) is_after_failure: bool,
}

/// The pauses that have not ended. A destination has at most one after a failure.
pub(super) struct Pauses<K> {
    running: JoinSet<K>,
    after_failures: HashMap<K, AbortHandle>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Pauses<K> {
    pub(super) fn new() -> Self {
        Self { running: JoinSet::new(), after_failures: HashMap::new() }
    }

    pub(super) fn start(&mut self, pause: Pause<K>, clock: &Clock) {
        let Pause { key, length, is_after_failure } = pause;
        let (clock, destination) = (clock.clone(), key.clone());
        let handle = self.running.spawn(async move {
            clock.sleep(length).await;
            destination
        });
        if is_after_failure && let Some(replaced) = self.after_failures.insert(key, handle) {
            replaced.abort();
        }
    }

    /// Ends the pause of a destination that failed, which is being tried again.
    pub(super) fn cancel(&mut self, key: &K) {
        if let Some(handle) = self.after_failures.remove(key) {
            handle.abort();
        }
    }

    /// Waits for the end of a pause, and returns its destination. `None` if nothing ended, or there are no pauses.
    pub(super) async fn next(&mut self) -> Option<K> {
        let (id, key) = self.running.join_next_with_id().await?.ok()?;
        if let Entry::Occupied(entry) = self.after_failures.entry(key.clone())
            && entry.get().id() == id
        {
            entry.remove();
        }
        Some(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}
