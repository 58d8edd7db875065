//! The member events that each device has been sent, so that lazy loading does not send them again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_store::{EventNid, RoomNid};
use quick_cache::sync::Cache;

/// The most devices in memory.
const MAX_DEVICES: usize = 10_000;
/// The most members that are kept for a device; above it the earlier ones are forgotten, and sent again.
const MAX_MEMBERS: usize = 10_000;

/// The member event that was sent last, by room and user.
type Members = HashMap<(RoomNid, Arc<str>), EventNid>;

/// The member events that each device has been sent. Owned by this process; another one sends them again.
pub(super) struct SentMembers(Cache<(UserId, String), Arc<Mutex<Members>>>);

/// The member events that a response sends to a device which does not have them yet. They count as sent once the
/// response is written.
#[derive(Debug, Default)]
pub struct NewMembers {
    sent_before: Arc<Mutex<Members>>,
    new: Members,
}

impl Default for SentMembers {
    fn default() -> Self {
        Self(Cache::new(MAX_DEVICES))
    }
}

impl SentMembers {
    /// Begins a response to a device. With `initial` the device has no member events.
    pub(super) fn begin(&self, user: &UserId, device: &str, initial: bool) -> NewMembers {
        let key = (user.clone(), device.to_owned());
        let sent_before = if initial { None } else { self.0.get(&key) };
        NewMembers { sent_before: sent_before.unwrap_or_default(), new: Members::new() }
    }

    /// Records that the member events of a response have been sent to the device.
    pub(super) fn record(&self, user: &UserId, device: &str, members: NewMembers) {
        let NewMembers { sent_before, new } = members;
        {
            let mut sent = sent_before.lock();
            if sent.len() + new.len() > MAX_MEMBERS {
                sent.clear();
            }
            sent.extend(new.into_iter().take(MAX_MEMBERS));
        }
        self.0.insert((user.clone(), device.to_owned()), sent_before);
    }
}

impl NewMembers {
    /// Adds a member event to the response. Returns false if the device has it already.
    pub(super) fn add(&mut self, room: RoomNid, user: &Arc<str>, event: EventNid) -> bool {
        let key = (room, Arc::clone(user));
        let last = self.new.get(&key).copied().or_else(|| self.sent_before.lock().get(&key).copied());
        if last == Some(event) {
            return false;
        }
        self.new.insert(key, event);
        true
    }
}
