//! Updates of the badges that apps show, besides those that come with notifications.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_store::repo::pushers::PusherKey;

use crate::outbox::Extras;

/// The most badges that are remembered; with more, all are forgotten.
const MAX_BADGES: usize = 20_000;

/// The badges that apps show, as far as is known. Owned by the process that delivers; a badge that is not known is sent
/// again.
#[derive(Default)]
pub(super) struct ShownBadges(Mutex<HashMap<Arc<PusherKey>, u64>>);

impl ShownBadges {
    pub(super) fn get(&self, key: &Arc<PusherKey>) -> Option<u64> {
        self.0.lock().get(key).copied()
    }

    pub(super) fn set(&self, key: &Arc<PusherKey>, badge: u64) {
        let mut badges = self.0.lock();
        if badges.len() >= MAX_BADGES {
            badges.clear();
        }
        badges.insert(Arc::clone(key), badge);
    }

    pub(super) fn forget(&self, key: &Arc<PusherKey>) {
        self.0.lock().remove(key);
    }
}

/// Whether the badge of a pusher may have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BadgeUpdate {
    /// It has not.
    #[default]
    None,
    /// Something was redacted that may have been counted. Worth a message only if it is known what the app shows.
    IfKnown,
    /// The user has read something.
    Always,
}

/// A badge may be lost: the next one says all.
impl Extras for BadgeUpdate {
    fn is_due(&self) -> bool {
        *self != Self::None
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn put_back(&mut self, taken: Self) {
        *self = taken.max(*self);
    }

    fn drop_ephemeral(&mut self) {
        *self = Self::None;
    }
}
