//! Which rooms each user is in, in memory, loaded when first asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_store::repo::memberships::RoomMembership;
use plexus_store::{Database, DbError, RoomNid, Tx, repo};
use tokio::sync::watch;

use crate::model::sorted::SortedSet;

/// How many users' rooms are kept in memory.
const KEPT_USERS: usize = 20_000;
/// So few users' memberships are read one by one, and kept: others are about to ask for them, too.
const FEW_USERS: usize = 16;
/// How many users one query asks about.
const USERS_AT_ONCE: usize = 500;

/// All rooms of one user; clones share structure.
#[derive(Clone, Debug, Default)]
pub struct UserRooms {
    rooms: SortedSet<RoomMembership>,
}

impl UserRooms {
    /// The membership of one room.
    #[must_use]
    pub fn get(&self, room: RoomNid) -> Option<&RoomMembership> {
        self.rooms.find(|membership| membership.room.cmp(&room))
    }

    /// All memberships, in order of room number.
    pub fn iter(&self) -> impl Iterator<Item = &RoomMembership> + Clone {
        self.rooms.iter()
    }

    /// The rooms the user is joined to.
    pub fn joined(&self) -> impl Iterator<Item = RoomNid> + Clone {
        self.iter().filter(|it| it.kind == Membership::Join).map(|it| it.room)
    }

    /// The rooms that both users are joined to.
    pub fn shared_with<'r>(&'r self, other: &'r UserRooms) -> impl Iterator<Item = RoomNid> + 'r {
        other.joined().filter(|room| self.get(*room).is_some_and(|own| own.kind == Membership::Join))
    }

    /// Takes over a change unless something newer is known already.
    fn apply(&mut self, change: RoomMembership) {
        if self.get(change.room).is_none_or(|known| known.position <= change.position) {
            self.rooms.insert(change, |other| other.room.cmp(&change.room));
        }
    }
}

enum Slot {
    /// Being read; what commits meanwhile is applied afterwards.
    Loading {
        changes: Vec<RoomMembership>,
        done: watch::Receiver<()>,
    },
    Loaded {
        rooms: UserRooms,
        used: AtomicU64,
    },
}

/// user -> rooms. Updated inside the commit, before its position is published.
pub struct Memberships {
    db: Database,
    users: Mutex<HashMap<UserId, Slot>>,
    tick: AtomicU64,
}

impl Memberships {
    pub fn new(db: Database) -> Self {
        Self { db, users: Mutex::default(), tick: AtomicU64::new(0) }
    }

    /// All rooms the user is or was in, reading the database the first time.
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
                        users.insert(user.clone(), Slot::Loading { changes: Vec::new(), done });
                        Ok(sender)
                    }
                }
            };
            match waiting {
                Ok(_wakes_waiters_when_dropped) => return self.load(user).await,
                Err(mut done) => _ = done.changed().await,
            }
        }
    }

    /// Those of `users` who are joined to one of the rooms that `mine` is joined to. The memberships of many users that
    /// are not in memory are read together and not kept, so that a large room does not evict those of others.
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
        if unknown.len() <= FEW_USERS {
            for user in unknown {
                if mine.shared_with(&self.of(&user).await?).next().is_some() {
                    sharing.insert(user);
                }
            }
            return Ok(sharing);
        }
        let rooms: Arc<[RoomNid]> = mine.joined().collect();
        for users in unknown.chunks(USERS_AT_ONCE) {
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

    /// The user's rooms, when they are in memory.
    #[must_use]
    pub fn loaded(&self, user: &UserId) -> Option<UserRooms> {
        match self.users.lock().get(user)? {
            Slot::Loaded { rooms, .. } => Some(rooms.clone()),
            Slot::Loading { .. } => None,
        }
    }

    /// Takes over a committed change.
    pub(crate) fn apply(&self, user: &UserId, change: RoomMembership) {
        match self.users.lock().get_mut(user) {
            Some(Slot::Loaded { rooms, .. }) => rooms.apply(change),
            Some(Slot::Loading { changes, .. }) => changes.push(change),
            None => {}
        }
    }

    async fn load(&self, user: &UserId) -> Result<UserRooms, DbError> {
        let mut abandoned = Abandoned { users: &self.users, user: Some(user) };
        let key = user.clone();
        let stored = self.db.read(move |tx| repo::memberships::of_user(tx, &key)).await?;
        let mut rooms = UserRooms::default();
        stored.into_iter().for_each(|membership| rooms.apply(membership));
        abandoned.user = None;
        let mut users = self.users.lock();
        if let Some(Slot::Loading { changes, .. }) = users.remove(user) {
            changes.into_iter().for_each(|change| rooms.apply(change));
        }
        evict(&mut users);
        let used = AtomicU64::new(self.tick.fetch_add(1, Ordering::Relaxed));
        users.insert(user.clone(), Slot::Loaded { rooms: rooms.clone(), used });
        Ok(rooms)
    }
}

/// Takes the `Loading` mark away when the read fails or its task is dropped, so that the next reader tries again.
struct Abandoned<'a> {
    users: &'a Mutex<HashMap<UserId, Slot>>,
    user: Option<&'a UserId>,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(user) = self.user {
            self.users.lock().remove(user);
        }
    }
}

/// Forgets the least recently used tenth once there are too many.
fn evict(users: &mut HashMap<UserId, Slot>) {
    if users.len() < KEPT_USERS {
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
