//! The users with requests that wait for a change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The users with requests that wait. Owned by the process that serves the requests.
#[derive(Default)]
pub struct Waiters {
    users: Mutex<HashMap<UserId, Entry>>,
    /// How many users there are in `users`, readable without the lock.
    len: AtomicUsize,
}

struct Entry {
    notify: Arc<Notify>,
    requests: usize,
}

/// A request that waits; it stops waiting when this is dropped.
pub struct Wait {
    waiters: Arc<Waiters>,
    user: UserId,
    notify: Arc<Notify>,
}

impl Waiters {
    pub(super) fn wait(self: &Arc<Self>, user: &UserId) -> Wait {
        let mut users = self.users.lock();
        let entry = users.entry(user.clone()).or_insert_with(|| Entry { notify: Arc::new(Notify::new()), requests: 0 });
        entry.requests += 1;
        let notify = Arc::clone(&entry.notify);
        self.len.store(users.len(), Ordering::Release);
        Wait { waiters: Arc::clone(self), user: user.clone(), notify }
    }

    pub(super) fn wake(&self, user: &str) {
        if let Some(entry) = self.users.lock().get(user) {
            entry.notify.notify_waiters();
        }
    }

    /// Wakes every waiting user the test picks.
    pub(super) fn wake_if(&self, picked: impl Fn(&UserId) -> bool) {
        for (_, entry) in self.users.lock().iter().filter(|(user, _)| picked(user)) {
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

impl Wait {
    /// Resolves at the first wake-up after this call, even if that comes before it is polled.
    pub fn woken(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut users = self.waiters.users.lock();
        if let Some(entry) = users.get_mut(&self.user) {
            entry.requests -= 1;
            if entry.requests == 0 {
                users.remove(&self.user);
            }
        }
        self.waiters.len.store(users.len(), Ordering::Release);
    }
}
