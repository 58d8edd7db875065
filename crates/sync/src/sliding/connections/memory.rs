//! The connections in memory.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_store::repo::sliding_sync::ConnectionKey;
use plexus_store::{Change, CommitListener};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::sliding::connection::SentState;
use crate::sliding::pos::StateId;

/// The most that is kept in memory of all connections, in rooms of about 90 bytes. States of one connection often share
/// their rooms: then it is less.
const MAX_ROOMS_IN_MEMORY: u64 = 1_000_000;
/// About how many connections are kept in memory.
const EXPECTED_CONNECTIONS: usize = 1_000;
/// The most states of a connection in memory: one for each request that is being served at the same time.
const MAX_STATES_IN_MEMORY: usize = 8;

/// Connections. Owned by the user, as [`super::Connections`] is; follows the commits for the devices that are deleted.
pub(super) struct ConnectionMemory {
    held: Cache<ConnectionKey, Arc<Held>, ByRooms>,
    /// Held while states are added to a connection.
    adding: Mutex<()>,
}

/// A connection in memory.
pub(super) struct Held {
    /// The last states: the one that the client presented last, and those that it was sent from there.
    pub states: Vec<(StateId, SentState)>,
    /// The stored state from which the client went on to one of these. It does not return there: a request that does
    /// is a late copy.
    pub passed: Option<i64>,
    /// When its use was last written.
    pub used_ms: u64,
}

#[derive(Clone)]
struct ByRooms;

impl Weighter<ConnectionKey, Arc<Held>> for ByRooms {
    fn weight(&self, _: &ConnectionKey, held: &Arc<Held>) -> u64 {
        held.states.iter().map(|(_, state)| state.weight()).sum::<u64>().max(1)
    }
}

impl Held {
    pub(super) fn state(&self, id: StateId) -> Option<&SentState> {
        self.states.iter().find(|(other, _)| *other == id).map(|(_, state)| state)
    }

    /// Returns the stored state from which the client has gone on when it presents `id`.
    pub(super) fn passed_by(&self, id: StateId) -> Option<i64> {
        let presented = self.states.first().map(|(first, _)| first.stored);
        let goes_on = presented != Some(id.stored) && self.state(id).is_some();
        if goes_on { presented } else { self.passed }
    }
}

impl ConnectionMemory {
    pub(super) fn new() -> Self {
        let held = Cache::with_weighter(EXPECTED_CONNECTIONS, MAX_ROOMS_IN_MEMORY, ByRooms);
        Self { held, adding: Mutex::new(()) }
    }

    pub(super) fn get(&self, key: &ConnectionKey) -> Option<Arc<Held>> {
        self.held.get(key)
    }

    pub(super) fn insert(&self, key: &ConnectionKey, held: Held) {
        self.held.insert(key.clone(), Arc::new(held));
    }

    pub(super) fn remove(&self, key: &ConnectionKey) {
        self.held.remove(key);
    }

    /// Adds a state that was stored at `now_ms`.
    pub(super) fn add(&self, key: &ConnectionKey, id: StateId, state: SentState, now_ms: u64) {
        let _adding = self.adding.lock();
        let before = self.held.get(key);
        let mut states: Vec<_> = before.iter().flat_map(|held| &held.states).cloned().collect();
        push(&mut states, id, state);
        let passed = before.and_then(|held| held.passed);
        self.insert(key, Held { states, passed, used_ms: now_ms });
    }

    /// Adds a state that differs from `previous` only in the members that were sent, and returns its id.
    pub(super) fn add_members(&self, key: &ConnectionKey, previous: StateId, state: SentState) -> StateId {
        let _adding = self.adding.lock();
        let Some(before) = self.held.get(key) else { return previous };
        let newest = before.states.iter().map(|(id, _)| *id).filter(|id| id.stored == previous.stored);
        let id = newest.chain([previous]).max().unwrap_or(previous).next_members();
        let mut states = before.states.clone();
        push(&mut states, id, state);
        self.insert(key, Held { states, passed: before.passed, used_ms: before.used_ms });
        id
    }
}

/// Adds a state in place of the oldest one after the first, which the client presented last, if there are too many.
fn push(states: &mut Vec<(StateId, SentState)>, id: StateId, state: SentState) {
    if states.len() >= MAX_STATES_IN_MEMORY {
        states.remove(1);
    }
    states.push((id, state));
}

impl CommitListener for ConnectionMemory {
    fn apply(&self, changes: &[Change]) {
        let mut deleted: HashSet<(&str, &str)> = HashSet::new();
        for change in changes {
            match change {
                Change::DeviceDeleted { user, device, .. } => _ = deleted.insert((user.as_str(), device)),
                // Devices may have been deleted.
                Change::Missed { .. } => self.held.clear(),
                _ => {}
            }
        }
        if !deleted.is_empty() {
            self.held.retain(|key, _| !deleted.contains(&(&*key.user_id, &*key.device_id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(device: &str) -> ConnectionKey {
        ConnectionKey { user_id: "@a:x".into(), device_id: device.into(), conn_id: String::new() }
    }

    #[test]
    fn connections_of_deleted_devices_are_forgotten() {
        let memory = ConnectionMemory::new();
        for device in ["A", "B", "C"] {
            memory.add(&key(device), StateId::of_stored(5), SentState::default(), 0);
        }
        let deleted = |device: &str| {
            let user = "@a:x".try_into().unwrap();
            Change::DeviceDeleted { user, device: device.into(), position: 9 }
        };
        memory.apply(&[deleted("A"), deleted("C")]);
        let left = ["A", "B", "C"].map(|device| memory.get(&key(device)).is_some());
        assert_eq!(left, [false, true, false]);
    }

    #[test]
    fn states_in_memory_are_bounded_and_the_presented_one_stays() {
        let (memory, first) = (ConnectionMemory::new(), StateId::of_stored(5));
        memory.add(&key("A"), first, SentState::default(), 0);
        let ids: Vec<StateId> = (0..20).map(|_| memory.add_members(&key("A"), first, SentState::default())).collect();
        let held = memory.get(&key("A")).unwrap();
        assert_eq!(held.states.len(), MAX_STATES_IN_MEMORY);
        assert!(held.state(first).is_some() && held.state(ids[19]).is_some() && held.state(ids[0]).is_none());
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
