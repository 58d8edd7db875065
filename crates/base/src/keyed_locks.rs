//! Locks by key.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Mutual exclusion of tasks that work on the same key, in constant memory. Some keys share a lock: a task that holds
/// the lock of one key must not wait for that of another.
#[derive(Debug)]
pub struct KeyedLocks {
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

impl KeyedLocks {
    /// Creates `count` locks, and at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { locks: (0..count.max(1)).map(|_| Arc::default()).collect(), hasher: RandomState::new() }
    }

    /// Waits for the lock of `key`, which is held until the guard is dropped.
    pub async fn lock(&self, key: &(impl Hash + ?Sized)) -> OwnedMutexGuard<()> {
        let number = self.hasher.hash_one(key) % self.locks.len() as u64;
        Arc::clone(&self.locks[number as usize]).lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_key_is_locked_once_and_other_keys_as_well() {
        let locks = KeyedLocks::new(64);
        let held = locks.lock("a").await;
        let mut again = Box::pin(locks.lock("a"));
        assert!(poll_once(&mut again).is_none());
        let free = (0..64).filter(|key| poll_once(&mut Box::pin(locks.lock(key))).is_some()).count();
        assert!(free > 32, "{free}");
        drop(held);
        drop(again.await);
    }

    fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
