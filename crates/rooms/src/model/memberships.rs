//! The memberships of users, in memory. They are read when they are first used.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_store::repo::memberships::RoomMembership;
use plexus_store::{Database, DbError, Position, RoomNid, Tx, repo};
use tokio::sync::watch;

use crate::model::sorted::SortedSet;

/// The maximum number of users in memory.
const MAX_USERS: usize = 20_000;
/// Up to this many users' memberships are read one by one and kept in memory.
const MAX_USERS_READ_SINGLY: usize = 16;
/// The number of users of one query.
const USERS_PER_QUERY: usize = 500;

/// All rooms of one user; clones share structure.
#[derive(Clone, Debug, Default)]
pub struct UserRooms {
    rooms: SortedSet<RoomMembership>,
}

impl UserRooms {
    /// Returns the membership of a room.
    #[must_use]
    pub fn get(&self, room: RoomNid) -> Option<&RoomMembership> {
        self.rooms.find(|membership| membership.room.cmp(&room))
    }

    /// Returns all memberships, in order of room number.
    pub fn iter(&self) -> impl Iterator<Item = &RoomMembership> + Clone {
        self.rooms.iter()
    }

    /// Returns the rooms that the user is joined to.
    pub fn joined(&self) -> impl Iterator<Item = RoomNid> + Clone {
        self.iter().filter(|it| it.kind == Membership::Join).map(|it| it.room)
    }

    /// Returns the rooms that both users are joined to.
    pub fn shared_with<'r>(&'r self, other: &'r UserRooms) -> impl Iterator<Item = RoomNid> + 'r {
        other.joined().filter(|room| self.get(*room).is_some_and(|own| own.kind == Membership::Join))
    }

    /// Applies a change, unless a newer one has been applied.
    fn apply(&mut self, change: MembershipUpdate) {
        match change {
            MembershipUpdate::Set(new) => {
                if self.get(new.room).is_none_or(|known| known.position <= new.position) {
                    self.rooms.insert(new, |other| other.room.cmp(&new.room));
                }
            }
            MembershipUpdate::Forgotten { room, position } => {
                let has_left = |known: &&RoomMembership| matches!(known.kind, Membership::Leave | Membership::Ban);
                if let Some(known) = self.get(room).filter(has_left).filter(|known| known.position < position) {
                    let forgotten = RoomMembership { forgotten: true, ..*known };
                    self.rooms.insert(forgotten, |other| other.room.cmp(&room));
                }
            }
        }
    }
}

/// A committed change of a user's memberships.
enum MembershipUpdate {
    Set(RoomMembership),
    Forgotten { room: RoomNid, position: Position },
}

enum Slot {
    /// Being read. Changes that are committed meanwhile are applied afterwards.
    Loading {
        /// The number of the reading.
        number: u64,
        changes: Vec<MembershipUpdate>,
        done: watch::Receiver<()>,
    },
    Loaded {
        rooms: UserRooms,
        used: AtomicU64,
    },
}

/// The memberships of users. Owned by this process, which follows the commits.
pub struct Memberships {
    db: Database,
    users: Mutex<HashMap<UserId, Slot>>,
    tick: AtomicU64,
}

impl Memberships {
    /// Creates an empty cache.
    pub fn new(db: Database) -> Self {
        Self { db, users: Mutex::default(), tick: AtomicU64::new(0) }
    }

    /// Returns all rooms that the user is or was in. Reads the database the first time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, user: &UserId) -> Result<UserRooms, DbError> {
        loop {
            let waiting = {
                let mut users = self.users.lock();
                match users.get(user) {
                    Some(Slot::Loaded { rooms, used }) => {
                        used.store(self.tick.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                        return Ok(rooms.clone());
                    }
                    Some(Slot::Loading { done, .. }) => Err(done.clone()),
                    None => {
                        let (sender, done) = watch::channel(());
                        let number = self.tick.fetch_add(1, Ordering::Relaxed);
                        users.insert(user.clone(), Slot::Loading { number, changes: Vec::new(), done });
                        Ok((number, sender))
                    }
                }
            };
            match waiting {
                Ok((number, _wakes_waiters_when_dropped)) => return self.load(user, number).await,
                Err(mut done) => _ = done.changed().await,
            }
        }
    }

    /// Returns the users that are joined to one of the rooms that `mine` is joined to. If many users are not in memory,
    /// their memberships are read together and not kept, so that a large room does not evict those of others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sharing(
        &self,
        mine: &UserRooms,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<BTreeSet<UserId>, DbError> {
        let (mut sharing, mut unknown) = (BTreeSet::new(), Vec::new());
        for user in users {
            match self.loaded(&user) {
                Some(theirs) if mine.shared_with(&theirs).next().is_some() => _ = sharing.insert(user),
                Some(_) => {}
                None => unknown.push(user),
            }
        }
        if unknown.len() <= MAX_USERS_READ_SINGLY {
            for user in unknown {
                if mine.shared_with(&self.of(&user).await?).next().is_some() {
                    sharing.insert(user);
                }
            }
            return Ok(sharing);
        }
        let rooms: Arc<[RoomNid]> = mine.joined().collect();
        for users in unknown.chunks(USERS_PER_QUERY) {
            let (users, rooms) = (users.to_vec(), Arc::clone(&rooms));
            let read = move |tx: &mut Tx<'_>| {
                let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
                repo::memberships::joined_to_any(tx, &users, &rooms)
            };
            let found: Vec<String> = self.db.read(read).await?;
            sharing.extend(found.into_iter().filter_map(|user| UserId::try_from(user).ok()));
        }
        Ok(sharing)
    }

    /// Returns the user's rooms, if they are in memory.
    #[must_use]
    pub fn loaded(&self, user: &UserId) -> Option<UserRooms> {
        match self.users.lock().get(user)? {
            Slot::Loaded { rooms, .. } => Some(rooms.clone()),
            Slot::Loading { .. } => None,
        }
    }

    /// Sets a membership that was committed.
    pub(crate) fn set(&self, user: &UserId, membership: RoomMembership) {
        self.update(user, MembershipUpdate::Set(membership));
    }

    /// Marks a room that the user has left as forgotten, as was committed at a position.
    pub(crate) fn forget_room(&self, user: &UserId, room: RoomNid, position: Position) {
        self.update(user, MembershipUpdate::Forgotten { room, position });
    }

    fn update(&self, user: &UserId, change: MembershipUpdate) {
        match self.users.lock().get_mut(user) {
            Some(Slot::Loaded { rooms, .. }) => rooms.apply(change),
            Some(Slot::Loading { changes, .. }) => changes.push(change),
            None => {}
        }
    }

    /// Drops the memberships of other servers' users. They are read again when they are next used.
    pub(crate) fn drop_remote_users(&self, server: &ServerName) {
        self.users.lock().retain(|user, _| user.server_name() == server.as_str());
    }

    /// Drops all memberships. They are read again when they are next used.
    pub(crate) fn drop_all(&self) {
        self.users.lock().clear();
    }

    async fn load(&self, user: &UserId, number: u64) -> Result<UserRooms, DbError> {
        let mut reading = PendingRead { users: &self.users, number, user: Some(user) };
        let key = user.clone();
        let stored = self.db.read(move |tx| repo::memberships::of_user(tx, &key)).await?;
        let mut rooms = UserRooms::default();
        stored.into_iter().for_each(|membership| rooms.apply(MembershipUpdate::Set(membership)));
        reading.user = None;
        let mut users = self.users.lock();
        if reading.is_current(&users, user) {
            if let Some(Slot::Loading { changes, .. }) = users.remove(user) {
                changes.into_iter().for_each(|change| rooms.apply(change));
            }
            evict(&mut users);
            let used = AtomicU64::new(self.tick.fetch_add(1, Ordering::Relaxed));
            users.insert(user.clone(), Slot::Loaded { rooms: rooms.clone(), used });
        }
        Ok(rooms)
    }
}

/// A user's memberships are being read. When that fails or its task is dropped, the `Loading` mark is removed, so that
/// the next reader tries again.
struct PendingRead<'a> {
    users: &'a Mutex<HashMap<UserId, Slot>>,
    number: u64,
    user: Option<&'a UserId>,
}

impl PendingRead<'_> {
    /// Whether the result may be kept: nothing has been dropped since the reading began.
    fn is_current(&self, users: &HashMap<UserId, Slot>, user: &UserId) -> bool {
        matches!(users.get(user), Some(Slot::Loading { number, .. }) if *number == self.number)
    }
}

impl Drop for PendingRead<'_> {
    fn drop(&mut self) {
        if let Some(user) = self.user {
            let mut users = self.users.lock();
            if self.is_current(&users, user) {
                users.remove(user);
            }
        }
    }
}

/// Removes the least recently used tenth of the users if there are too many.
fn evict(users: &mut HashMap<UserId, Slot>) {
    if users.len() < MAX_USERS {
        return;
    }
    let mut ticks: Vec<u64> = users
        .values()
        .filter_map(|slot| match slot {
            Slot::Loaded { used, .. } => Some(used.load(Ordering::Relaxed)),
            Slot::Loading { .. } => None,
        })
        .collect();
    let tenth = ticks.len() / 10;
    if tenth < ticks.len() {
        let (_, &mut oldest_kept, _) = ticks.select_nth_unstable(tenth);
        users.retain(|_, slot| match slot {
            Slot::Loaded { used, .. } => used.load(Ordering::Relaxed) >= oldest_kept,
            Slot::Loading { .. } => true,
        });
    }
}
