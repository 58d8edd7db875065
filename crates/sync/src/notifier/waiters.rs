//! The users, and the rooms, with requests that wait for a change.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The users or rooms (`K`) with requests that wait. Owned by the process that serves the requests.
pub struct Waiters<K: Eq + Hash> {
    entries: Mutex<HashMap<K, Entry>>,
    /// The number of `entries`, readable without the lock.
    len: AtomicUsize,
}

impl<K: Eq + Hash> Default for Waiters<K> {
    fn default() -> Self {
        Self { entries: Mutex::default(), len: AtomicUsize::new(0) }
    }
}

struct Entry {
    notify: Arc<Notify>,
    requests: usize,
}

/// A request that waits; it stops waiting when this is dropped.
pub struct Wait<K: Eq + Hash> {
    waiters: Arc<Waiters<K>>,
    key: K,
    notify: Arc<Notify>,
}

impl<K: Eq + Hash + Clone> Waiters<K> {
    pub(super) fn wait(self: &Arc<Self>, key: &K) -> Wait<K> {
        let mut entries = self.entries.lock();
        let new = || Entry { notify: Arc::new(Notify::new()), requests: 0 };
        let entry = entries.entry(key.clone()).or_insert_with(new);
        entry.requests += 1;
        let notify = Arc::clone(&entry.notify);
        self.len.store(entries.len(), Ordering::Release);
        Wait { waiters: Arc::clone(self), key: key.clone(), notify }
    }

    pub(super) fn wake<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(entry) = self.entries.lock().get(key) {
            entry.notify.notify_waiters();
        }
    }

    /// Wakes all requests whose user or room the test picks.
    pub(super) fn wake_if(&self, picked: impl Fn(&K) -> bool) {
        for (_, entry) in self.entries.lock().iter().filter(|(key, _)| picked(key)) {
            entry.notify.notify_waiters();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash> Wait<K> {
    /// Resolves at the first wake-up after this call, even if that comes before it is polled.
    pub fn woken(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl<K: Eq + Hash> Drop for Wait<K> {
    fn drop(&mut self) {
        let mut entries = self.waiters.entries.lock();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.requests -= 1;
            if entry.requests == 0 {
                entries.remove(&self.key);
            }
        }
        self.waiters.len.store(entries.len(), Ordering::Release);
    }
}
