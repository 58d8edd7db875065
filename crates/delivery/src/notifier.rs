//! Follows the database's clock: keeps in memory what changed for whom, and wakes exactly those who wait.

mod index;
mod partings;
mod waiters;

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_rooms::{RoomView, Rooms};
use plexus_store::{Change, CommitListener, DbError, Position, RoomNid};
use tokio::runtime::Handle;

use crate::federation_out::Mailbox;
pub use index::{ChangeIndex, Known};
pub use partings::{Parted, Partings};
pub use waiters::{Wait, Waiters};

/// Learns of every commit. The index is brought up to date before a commit's position is published, waiting syncs are
/// woken after it.
pub struct Notifier {
    index: ChangeIndex,
    wakers: Wakers,
    outgoing: Mailbox,
    partings: Partings,
    runtime: Handle,
}

/// Finds out who waits for a change.
#[derive(Clone)]
struct Wakers {
    rooms: Arc<Rooms>,
    waiters: Arc<Waiters>,
}

impl Notifier {
    /// Knows every change after `committed`, the database's position at this moment.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, committed: Position) -> Self {
        let wakers = Wakers { rooms, waiters: Arc::default() };
        let (outgoing, partings) = (Mailbox::default(), Partings::default());
        Self { index: ChangeIndex::new(committed), wakers, outgoing, partings, runtime: Handle::current() }
    }

    /// What changed, by user and by room.
    pub fn index(&self) -> &ChangeIndex {
        &self.index
    }

    /// What other servers may have to know.
    pub fn outgoing(&self) -> &Mailbox {
        &self.outgoing
    }

    /// Who left rooms.
    pub fn partings(&self) -> &Partings {
        &self.partings
    }

    /// Registers a waiting user. Register first, then read what is there, then wait: nothing is missed.
    pub fn wait(&self, user: &UserId) -> Wait {
        self.wakers.waiters.wait(user)
    }

    /// How many users are waiting.
    pub fn waiting(&self) -> usize {
        self.wakers.waiters.len()
    }

    /// Wakes the local members of a room that is in memory, as a room is to which something happens.
    pub fn wake_room(&self, room: RoomNid) {
        self.wakers.wake_room(room);
    }

    /// Wakes whoever shares a room with `user`, and the user.
    pub async fn wake_sharers(&self, user: &UserId) -> Result<(), DbError> {
        self.wakers.wake_sharers(user).await
    }
}

impl Wakers {
    fn wake_room(&self, room: RoomNid) {
        if self.waiters.is_empty() {
            return;
        }
        if let Some(room) = self.rooms.loaded(room) {
            self.wake_members(&room.view());
        }
    }

    async fn wake_sharers(&self, user: &UserId) -> Result<(), DbError> {
        self.waiters.wake(user.as_str());
        if self.waiters.is_empty() {
            return Ok(());
        }
        for room in self.rooms.memberships().of(user).await?.joined() {
            if let Some(room) = self.rooms.get_readable_nid(room).await? {
                self.wake_members(&room.view());
            }
        }
        Ok(())
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

    fn wake_for(&self, change: &Change, runtime: &Handle) {
        match change {
            Change::Event { room, .. } | Change::Receipt { room, private: false, .. } => self.wake_room(*room),
            Change::Receipt { user, .. }
            | Change::Membership { user, .. }
            | Change::AccountData { user, .. }
            | Change::DeviceList { user, private: true, .. }
            | Change::ToDevice { user, .. } => self.waiters.wake(user.as_str()),
            Change::DeviceList { user, private: false, .. } => {
                let (wakers, user) = (self.clone(), user.clone());
                runtime.spawn(async move {
                    if let Err(error) = wakers.wake_sharers(&user).await {
                        tracing::warn!(%error, "cannot tell who shares a room with {user}");
                    }
                });
            }
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
        self.outgoing.committed(changes);
        self.partings.committed(changes);
        if !self.wakers.waiters.is_empty() {
            changes.iter().for_each(|change| self.wakers.wake_for(change, &self.runtime));
        }
    }
}
