//! The data that an application service gets besides the log.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use plexus_protocol::id::UserId;

use crate::outbox::Extras;

/// The most ephemeral events that wait for one service; then the oldest is dropped.
const MAX_EPHEMERAL: usize = 500;
/// The most users whose numbers of keys wait for one service.
const MAX_KEY_USERS: usize = 1_000;
/// The most ephemeral events, and the most users with numbers of keys, in one transaction; as in Synapse.
const MAX_IN_TRANSACTION: usize = 100;

/// An ephemeral event: typing, receipts or presence.
#[derive(Debug, Clone)]
pub(super) struct Ephemeral {
    /// A later event with the same key replaces this one.
    pub(super) key: Arc<str>,
    /// The event, JSON.
    pub(super) json: Arc<str>,
}

/// The data that an application service gets besides the log. All of it may be lost.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceExtras {
    pub(super) ephemeral: VecDeque<Ephemeral>,
    /// Users whose one-time keys or fallback keys have changed.
    pub(super) key_users: BTreeSet<UserId>,
}

impl ServiceExtras {
    /// Adds an event in place of an older one about the same.
    pub(super) fn push_ephemeral(&mut self, event: Ephemeral) {
        self.ephemeral.retain(|other| other.key != event.key);
        if self.ephemeral.len() >= MAX_EPHEMERAL {
            self.ephemeral.pop_front();
        }
        self.ephemeral.push_back(event);
    }

    pub(super) fn push_key_user(&mut self, user: UserId) {
        if self.key_users.len() < MAX_KEY_USERS {
            self.key_users.insert(user);
        }
    }

    /// Divides into what the next transaction carries, and the rest.
    pub(super) fn split(&self) -> (Self, Self) {
        let events = self.ephemeral.iter().cloned();
        let users = self.key_users.iter().cloned();
        let first = Self {
            ephemeral: events.clone().take(MAX_IN_TRANSACTION).collect(),
            key_users: users.clone().take(MAX_IN_TRANSACTION).collect(),
        };
        let rest = Self {
            ephemeral: events.skip(MAX_IN_TRANSACTION).collect(),
            key_users: users.skip(MAX_IN_TRANSACTION).collect(),
        };
        (first, rest)
    }
}

impl Extras for ServiceExtras {
    fn is_due(&self) -> bool {
        !self.ephemeral.is_empty() || !self.key_users.is_empty()
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn put_back(&mut self, taken: Self) {
        for event in taken.ephemeral.into_iter().rev() {
            if self.ephemeral.iter().all(|newer| newer.key != event.key) {
                self.ephemeral.push_front(event);
            }
        }
        self.key_users.extend(taken.key_users);
    }

    fn drop_ephemeral(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &str) -> Ephemeral {
        Ephemeral { key: key.into(), json: "{}".into() }
    }

    #[test]
    fn a_newer_event_replaces_an_older_one_about_the_same() {
        let mut extras = ServiceExtras::default();
        ["a", "b", "a"].into_iter().for_each(|key| extras.push_ephemeral(event(key)));
        let taken = extras.take();
        assert_eq!(taken.ephemeral.iter().map(|event| &*event.key).collect::<Vec<_>>(), ["b", "a"]);
        extras.push_ephemeral(event("a"));
        extras.put_back(taken);
        assert_eq!(extras.ephemeral.iter().map(|event| &*event.key).collect::<Vec<_>>(), ["b", "a"]);
        (0..=MAX_EPHEMERAL).for_each(|key| extras.push_ephemeral(event(&key.to_string())));
        assert_eq!(extras.ephemeral.len(), MAX_EPHEMERAL);
        let (first, rest) = extras.split();
        assert_eq!((first.ephemeral.len(), rest.ephemeral.len()), (100, 400));
    }
}
