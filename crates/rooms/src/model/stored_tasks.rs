//! Scheduled tasks that were stored with events, for whoever runs them.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// When the earliest of the tasks is due that were stored since somebody asked. Owned by this process, which runs the
/// tasks; another would send it a message on the bus.
#[derive(Debug)]
pub(crate) struct StoredTasks {
    /// Unix ms
    earliest_ms: AtomicU64,
    stored: Notify,
}

impl Default for StoredTasks {
    fn default() -> Self {
        Self { earliest_ms: AtomicU64::new(u64::MAX), stored: Notify::new() }
    }
}

impl StoredTasks {
    /// Notes a task that is due at `due_ms`.
    pub(crate) fn note(&self, due_ms: u64) {
        self.earliest_ms.fetch_min(due_ms, Ordering::SeqCst);
        self.stored.notify_one();
    }

    /// Waits until a task is stored, and returns when the earliest is due, in Unix ms. For one caller.
    pub(crate) async fn next(&self) -> u64 {
        self.stored.notified().await;
        self.earliest_ms.swap(u64::MAX, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_earliest_of_several_is_returned_once() {
        let stored = StoredTasks::default();
        [20, 10, 30].into_iter().for_each(|due_ms| stored.note(due_ms));
        assert_eq!(stored.next().await, 10);
        stored.note(40);
        assert_eq!(stored.next().await, 40);
    }
}
