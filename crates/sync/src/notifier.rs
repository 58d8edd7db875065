//! Follows the commits: keeps in memory which users, rooms and devices changed, and wakes the requests that wait for a
//! change.

mod index;
mod waiters;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use plexus_base::Background;
use plexus_protocol::id::UserId;
use plexus_rooms::{RoomView, Rooms};
use plexus_store::{Change, CommitListener, DbError, Position, RoomNid, StickyEvent};
use tokio::runtime::Handle;

pub use index::{ChangeIndex, MaybeChanged};
pub use waiters::{Wait, Waiters};

/// Is notified of changes that are only in memory. Its methods may neither block nor call the database.
pub trait EphemeralListener: Send + Sync {
    /// A user began (`typing`) or stopped typing in a room.
    fn typing_changed(&self, room: RoomNid, user: &UserId, typing: bool);

    /// The presence of users changed.
    fn presence_changed(&self, users: &BTreeSet<UserId>);
}

/// Learns of every commit. Updates the index before a commit's position is published, and wakes waiting syncs after it.
/// Owned by this process, which follows the commits.
pub struct Notifier {
    index: ChangeIndex,
    wakers: Wakers,
    ephemeral_listeners: RwLock<Vec<Arc<dyn EphemeralListener>>>,
    /// How many waiting requests changes of profiles are to wake.
    profile_followers: Arc<AtomicUsize>,
    background: Background,
    runtime: Handle,
}

/// A request that changes of profiles are to wake.
pub struct ProfileFollower(Arc<AtomicUsize>);

impl Drop for ProfileFollower {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Wakes the requests that are affected by a change.
#[derive(Clone)]
struct Wakers {
    rooms: Arc<Rooms>,
    waiters: Arc<Waiters<UserId>>,
    /// Requests about one room, whose users need not be in it.
    room_waiters: Arc<Waiters<RoomNid>>,
}

impl Notifier {
    /// Creates a notifier that knows every change after `committed`, the database's position at this moment.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, committed: Position, background: Background) -> Self {
        let wakers = Wakers { rooms, waiters: Arc::default(), room_waiters: Arc::default() };
        Self {
            index: ChangeIndex::new(committed),
            wakers,
            ephemeral_listeners: RwLock::default(),
            profile_followers: Arc::default(),
            background,
            runtime: Handle::current(),
        }
    }

    /// Returns the changes, by user and by room.
    pub fn index(&self) -> &ChangeIndex {
        &self.index
    }

    /// Adds a listener for what is not in the log.
    pub fn add_ephemeral_listener(&self, listener: Arc<dyn EphemeralListener>) {
        self.ephemeral_listeners.write().push(listener);
    }

    /// Users began (`typing`) or stopped typing in a room: wakes its members and calls the listeners.
    pub(crate) fn typing_changed(&self, room: RoomNid, users: &[UserId], typing: bool) {
        if users.is_empty() {
            return;
        }
        self.wakers.wake_room(room);
        for listener in self.ephemeral_listeners.read().iter() {
            users.iter().for_each(|user| listener.typing_changed(room, user, typing));
        }
    }

    /// The presence of users changed: calls the listeners and wakes whoever shares a room with one of the users.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn presence_changed(&self, users: &BTreeSet<UserId>) -> Result<(), DbError> {
        for listener in self.ephemeral_listeners.read().iter() {
            listener.presence_changed(users);
        }
        for user in users {
            self.wakers.wake_sharers(user).await?;
        }
        Ok(())
    }

    /// Registers a waiting user. Register first, then read what is there, then wait: nothing is missed.
    pub fn wait(&self, user: &UserId) -> Wait<UserId> {
        self.wakers.waiters.wait(user)
    }

    /// As [`Self::wait`], for the events of one room.
    pub fn wait_for_room(&self, room: RoomNid) -> Wait<RoomNid> {
        self.wakers.room_waiters.wait(&room)
    }

    /// Has changes of profiles wake those who wait, until the result is dropped.
    pub fn follow_profiles(&self) -> ProfileFollower {
        self.profile_followers.fetch_add(1, Ordering::AcqRel);
        ProfileFollower(Arc::clone(&self.profile_followers))
    }

    /// Returns how many users are waiting.
    pub fn waiting(&self) -> usize {
        self.wakers.waiters.len()
    }

    fn wake_for(&self, change: &Change) {
        match change {
            Change::Sticky(StickyEvent { room_nid: room, soft_failed: false, .. }) => self.wakers.wake_room(*room),
            Change::Event { room, .. } => {
                if !self.wakers.room_waiters.is_empty() {
                    self.wakers.room_waiters.wake(room);
                }
                self.wakers.wake_room(*room);
            }
            Change::Receipt(receipt) if receipt.is_private() => self.wakers.waiters.wake(receipt.user.as_str()),
            Change::Receipt(receipt) => self.wakers.wake_room(receipt.room),
            Change::Membership { user, .. }
            | Change::AccountData { user, .. }
            | Change::DeviceList { user, private: true, .. }
            | Change::ToDevice { user, .. } => self.wakers.waiters.wake(user.as_str()),
            Change::DeviceList { user, private: false, .. } => self.wake_sharers_later(user.clone()),
            Change::Profile { user, .. } => {
                if self.profile_followers.load(Ordering::Acquire) > 0
                    && let Ok(user) = UserId::try_from(user.as_str())
                {
                    self.wake_sharers_later(user);
                }
            }
            Change::Missed { .. } => {
                self.wakers.room_waiters.wake_if(|_| true);
                self.wakers.waiters.wake_if(|_| true);
            }
            // One-time key counts go with the next response, as in Synapse; they are not worth one of their own.
            Change::OneTimeKeys { .. }
            | Change::FederationToDevice { .. }
            | Change::Room { .. }
            | Change::OlderMemberships { .. }
            | Change::OutgoingToNewServer { .. }
            | Change::Sticky(StickyEvent { soft_failed: true, .. })
            | Change::Forgotten { .. }
            | Change::DeviceDeleted { .. }
            | Change::Pushers { .. }
            | Change::Tokens { .. }
            | Change::Erased { .. } => {}
        }
    }

    /// Wakes whoever shares a room with `user`, which may take reading the database, on another task.
    fn wake_sharers_later(&self, user: UserId) {
        let wakers = self.wakers.clone();
        // The writer's thread, which calls this, is outside of the runtime.
        let _runtime = self.runtime.enter();
        self.background.spawn_abortable("wake-ups for changed devices and profiles", async move {
            if let Err(error) = wakers.wake_sharers(&user).await {
                tracing::warn!(%error, "cannot wake the users who share a room with {user}");
            }
        });
    }
}

impl Wakers {
    /// Wakes the local members of a room that is in memory, as a room is to which something happens.
    fn wake_room(&self, room: RoomNid) {
        if self.waiters.is_empty() {
            return;
        }
        if let Some(room) = self.rooms.loaded(room) {
            self.wake_members(&room.view());
        }
    }

    /// Wakes whoever shares a room with `user`, and the user.
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

    /// Iterates over the smaller of the two sets, and looks its users up in the larger.
    fn wake_members(&self, view: &RoomView) {
        let members = &view.local_joined;
        if members.len() <= self.waiters.len() {
            members.iter().for_each(|user| self.waiters.wake(user.as_str()));
        } else {
            self.waiters.wake_if(|user| members.find(|member| member.cmp(user)).is_some());
        }
    }
}

impl CommitListener for Notifier {
    fn apply(&self, changes: &[Change]) {
        self.index.apply(changes);
    }

    fn published(&self, _position: Position, changes: &[Change]) {
        if !self.wakers.waiters.is_empty() || !self.wakers.room_waiters.is_empty() {
            changes.iter().for_each(|change| self.wake_for(change));
        }
    }
}
