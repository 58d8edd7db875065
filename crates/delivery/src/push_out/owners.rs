//! The users who have pushers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use plexus_protocol::id::UserId;
use plexus_rooms::RoomView;
use plexus_store::repo::pushers::{self, ActivePusher, PusherKey};
use plexus_store::{Database, DbError, Position};

/// The users who have pushers for push gateways, with the keys of these. Owned by the process that delivers: it follows
/// the commits, and reads the pushers that have changed.
pub(super) struct PushOwners {
    db: Database,
    users: RwLock<HashMap<UserId, Vec<OwnedPusher>>>,
    /// The pushers that were set or deleted, until [`Self::take_changed`].
    changed: Mutex<Vec<Arc<PusherKey>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct OwnedPusher {
    key: Arc<PusherKey>,
    /// What is at or before this position is not pushed.
    since: Position,
    /// When it was set last, Unix ms.
    set_ts: u64,
}

impl From<ActivePusher> for OwnedPusher {
    fn from(pusher: ActivePusher) -> Self {
        Self { key: pusher.key, since: pusher.since, set_ts: pusher.set_ts }
    }
}

impl PushOwners {
    pub(super) fn new(db: Database) -> Self {
        Self { db, users: RwLock::default(), changed: Mutex::default() }
    }

    /// Reads all pushers, and returns them.
    pub(super) async fn load(&self) -> Result<Vec<ActivePusher>, DbError> {
        let active = self.db.read(pushers::active).await?;
        let mut users: HashMap<UserId, Vec<OwnedPusher>> = HashMap::new();
        for pusher in &active {
            users.entry(pusher.key.user.clone()).or_default().push(pusher.clone().into());
        }
        *self.users.write() = users;
        Ok(active)
    }

    /// Reads the pushers of one user.
    pub(super) async fn reload(&self, user: &UserId) -> Result<(), DbError> {
        let key = user.clone();
        let active = self.db.read(move |tx| pushers::active_of_user(tx, &key)).await?;
        let new: Vec<OwnedPusher> = active.into_iter().map(OwnedPusher::from).collect();
        let mut users = self.users.write();
        let old = users.remove(user).unwrap_or_default();
        let missing = |of: &[OwnedPusher], from: &[OwnedPusher]| -> HashSet<Arc<PusherKey>> {
            let from: HashSet<&OwnedPusher> = from.iter().collect();
            of.iter().filter(|pusher| !from.contains(pusher)).map(|pusher| Arc::clone(&pusher.key)).collect()
        };
        let mut changed = missing(&new, &old);
        changed.extend(missing(&old, &new));
        self.changed.lock().extend(changed);
        if !new.is_empty() {
            users.insert(user.clone(), new);
        }
        Ok(())
    }

    /// Takes out the pushers that were set or deleted.
    pub(super) fn take_changed(&self) -> Vec<Arc<PusherKey>> {
        std::mem::take(&mut self.changed.lock())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.read().is_empty()
    }

    /// Whether a user has a pusher.
    pub(super) fn contains(&self, user: &UserId) -> bool {
        self.users.read().contains_key(user)
    }

    /// Returns the joined members of a room who have pushers.
    pub(super) fn in_room(&self, view: &RoomView) -> Vec<UserId> {
        let users = self.users.read();
        let members = &view.local_joined;
        if members.len() <= users.len() {
            members.iter().filter(|member| users.contains_key(*member)).cloned().collect()
        } else {
            users.keys().filter(|user| members.find(|member| member.cmp(user)).is_some()).cloned().collect()
        }
    }

    /// Returns those pushers of a user that get what is at a position.
    pub(super) fn pushers(&self, user: &UserId, position: Position) -> Vec<Arc<PusherKey>> {
        let users = self.users.read();
        let pushers = users.get(user).into_iter().flatten().filter(|pusher| pusher.since < position);
        pushers.map(|pusher| Arc::clone(&pusher.key)).collect()
    }

    /// Returns a position at or before which nothing is pushed.
    pub(super) fn oldest_since(&self) -> Position {
        self.users.read().values().flatten().map(|pusher| pusher.since).min().unwrap_or(Position::MAX)
    }
}
