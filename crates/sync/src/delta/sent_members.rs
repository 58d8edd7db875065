//! The member events that each device has been sent, so that lazy loading does not send them again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_store::{EventNid, RoomNid};
use quick_cache::sync::Cache;

/// How many devices are kept in memory.
const MAX_DEVICES: usize = 10_000;
/// How many members are kept for a device before it starts afresh.
const MAX_MEMBERS: usize = 10_000;

/// By device, room and user the member event that was sent last. Owned by this process; another one sends members
/// again.
pub(super) struct SentMembers(Cache<(UserId, String), Arc<DeviceMembers>>);

/// The member events that one device has been sent.
#[derive(Default)]
pub(super) struct DeviceMembers(Mutex<HashMap<(RoomNid, Arc<str>), EventNid>>);

impl Default for SentMembers {
    fn default() -> Self {
        Self(Cache::new(MAX_DEVICES))
    }
}

impl SentMembers {
    /// The member events that a device has been sent; none when it starts with an initial sync.
    pub(super) fn of(&self, user: &UserId, device: &str, initial: bool) -> Arc<DeviceMembers> {
        let key = (user.clone(), device.to_owned());
        if !initial && let Some(members) = self.0.get(&key) {
            return members;
        }
        let members = Arc::<DeviceMembers>::default();
        self.0.insert(key, Arc::clone(&members));
        members
    }
}

impl DeviceMembers {
    /// Records that a member event is sent now. Returns false when the device has it already.
    pub(super) fn send(&self, room: RoomNid, user: &Arc<str>, event: EventNid) -> bool {
        let mut sent = self.0.lock();
        if sent.len() >= MAX_MEMBERS {
            sent.clear();
        }
        sent.insert((room, Arc::clone(user)), event) != Some(event)
    }
}
