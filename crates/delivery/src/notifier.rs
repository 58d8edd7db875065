//! Follows the database's clock: keeps in memory what changed for whom, and wakes exactly those who wait.

mod index;
mod waiters;

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_rooms::{RoomView, Rooms};
use plexus_store::{Change, CommitListener, Position, RoomNid};

pub use index::{ChangeIndex, Known};
pub use waiters::{Wait, Waiters};

/// Learns of every commit. The index is brought up to date before a commit's position is published, waiting syncs are
/// woken after it.
pub struct Notifier {
    rooms: Arc<Rooms>,
    index: ChangeIndex,
    waiters: Arc<Waiters>,
}

impl Notifier {
    /// Knows every change after `committed`, the database's position at this moment.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, committed: Position) -> Self {
        Self { rooms, index: ChangeIndex::new(committed), waiters: Arc::default() }
    }

    /// What changed, by user and by room.
    pub fn index(&self) -> &ChangeIndex {
        &self.index
    }

    /// Registers a waiting user. Register first, then read what is there, then wait: nothing is missed.
    pub fn wait(&self, user: &UserId) -> Wait {
        self.waiters.wait(user)
    }

    /// How many users are waiting.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Wakes one user.
    pub fn wake_user(&self, user: &UserId) {
        self.waiters.wake(user.as_str());
    }

    /// Wakes the local members of a room. A room that is not in memory has nobody who waits for it.
    pub fn wake_room(&self, room: RoomNid) {
        if self.waiters.is_empty() {
            return;
        }
        if let Some(room) = self.rooms.loaded(room) {
            self.wake_members(&room.view());
        }
    }

    /// Wakes whoever shares a room with `user`, and the user.
    pub fn wake_sharers(&self, user: &UserId) {
        if self.waiters.is_empty() {
            return;
        }
        self.waiters.wake(user.as_str());
        if let Some(rooms) = self.rooms.memberships().loaded(user) {
            rooms.joined().for_each(|room| self.wake_room(room));
        }
    }

    /// The smaller of the two sets is walked, and looked up in the larger.
    fn wake_members(&self, view: &RoomView) {
        let members = &view.local_joined;
        if members.len() <= self.waiters.len() {
            members.iter().for_each(|user| self.waiters.wake(user.as_str()));
        } else {
            self.waiters.wake_if(|user| members.find(|member| member.cmp(user)).is_some());
        }
    }

    fn wake_for(&self, change: &Change) {
        match change {
            Change::Event { room, .. } => self.wake_room(*room),
            Change::Receipt { room, private: false, .. } => self.wake_room(*room),
            Change::Receipt { user, .. }
            | Change::Membership { user, .. }
            | Change::AccountData { user, .. }
            | Change::ToDevice { user, .. } => self.wake_user(user),
            Change::DeviceList { user, .. } => self.wake_sharers(user),
            // Told with the next answer, as in Synapse; not worth one of its own.
            Change::OneTimeKeys { .. } => {}
        }
    }
}

impl CommitListener for Notifier {
    fn apply(&self, changes: &[Change]) {
        self.index.apply(changes);
    }

    fn published(&self, _position: Position, changes: &[Change]) {
        if !self.waiters.is_empty() {
            changes.iter().for_each(|change| self.wake_for(change));
        }
    }
}
