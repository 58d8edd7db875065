//! Collects the changes that other servers may have to get. Each costs the same, whatever the number of servers that
//! get it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use parking_lot::Mutex;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_store::{Change, CommitListener, Position, RoomNid};
use plexus_sync::notifier::EphemeralListener;
use tokio::sync::Notify;

/// The most typing notifications, receipts, presences and joins that are kept until they are taken; more are dropped.
const MAX_EPHEMERAL: usize = 16_384;

/// Collects changes. Owned by the process that delivers: it follows the commits and, for what is not in the log, the
/// notifier.
pub(super) struct OutgoingChanges {
    server_name: ServerName,
    changes: Mutex<Changes>,
    arrived: Notify,
    joins: Mutex<Joins>,
    joined: Notify,
}

/// Changes since they were taken last.
#[derive(Default)]
pub(super) struct Changes {
    /// The log has new events or changes of devices.
    pub log: bool,
    /// The servers for whose devices there are messages.
    pub to_device: BTreeSet<String>,
    /// Users who began (true) or stopped typing.
    pub typing: BTreeMap<(RoomNid, UserId), bool>,
    /// Public receipts.
    pub receipts: Vec<(RoomNid, Position)>,
    /// Users whose presence changed.
    pub presence: BTreeSet<UserId>,
}

/// The users who joined a room.
#[derive(Default)]
pub(super) struct RoomJoins {
    /// Users of this server.
    pub local: BTreeSet<UserId>,
    /// Users of other servers.
    pub remote: BTreeSet<UserId>,
}

/// The joins of all rooms.
#[derive(Default)]
struct Joins {
    rooms: BTreeMap<RoomNid, RoomJoins>,
    /// How many users there are in all rooms.
    users: usize,
}

impl Joins {
    fn take(&mut self, last: RoomNid) -> Option<(RoomNid, RoomJoins)> {
        let after = self.rooms.range((Bound::Excluded(last), Bound::Unbounded)).next();
        let (&room, _) = after.or(self.rooms.first_key_value())?;
        let joins = self.rooms.remove(&room)?;
        self.users -= joins.len();
        Some((room, joins))
    }
}

impl RoomJoins {
    fn len(&self) -> usize {
        self.local.len() + self.remote.len()
    }
}

impl CommitListener for OutgoingChanges {
    fn published(&self, _position: Position, committed: &[Change]) {
        let mut any = false;
        let mut changes = self.changes.lock();
        for change in committed {
            match change {
                Change::Event { outgoing: true, .. }
                | Change::OutgoingToNewServer { .. }
                | Change::DeviceList { private: false, .. } => changes.log = true,
                Change::Membership { user, membership, was_joined: false } if membership.kind == Membership::Join => {
                    self.join(membership.room, user.clone());
                    continue;
                }
                Change::Receipt(receipt) if !receipt.is_private() && changes.receipts.len() < MAX_EPHEMERAL => {
                    changes.receipts.push((receipt.room, receipt.position));
                }
                Change::Missed { .. } => changes.log = true,
                Change::FederationToDevice { server, .. } => _ = changes.to_device.insert(server.clone()),
                _ => continue,
            }
            any = true;
        }
        drop(changes);
        if any {
            self.arrived.notify_one();
        }
    }
}

impl EphemeralListener for OutgoingChanges {
    fn typing_changed(&self, room: RoomNid, user: &UserId, typing: bool) {
        self.put(|changes| {
            if changes.typing.len() < MAX_EPHEMERAL {
                changes.typing.insert((room, user.clone()), typing);
            }
        });
    }

    fn presence_changed(&self, users: &BTreeSet<UserId>) {
        self.put(|changes| {
            let room = MAX_EPHEMERAL.saturating_sub(changes.presence.len());
            changes.presence.extend(users.iter().take(room).cloned());
        });
    }
}

impl OutgoingChanges {
    pub(super) fn new(server_name: ServerName) -> Self {
        Self {
            server_name,
            changes: Mutex::default(),
            arrived: Notify::new(),
            joins: Mutex::default(),
            joined: Notify::new(),
        }
    }

    /// Waits for changes, and takes them out.
    pub(super) async fn take(&self) -> Changes {
        self.arrived.notified().await;
        std::mem::take(&mut *self.changes.lock())
    }

    fn join(&self, room: RoomNid, user: UserId) {
        let mut all = self.joins.lock();
        if all.users < MAX_EPHEMERAL {
            let joins = all.rooms.entry(room).or_default();
            let is_local = user.server_name() == self.server_name.as_str();
            let is_new = if is_local { &mut joins.local } else { &mut joins.remote }.insert(user);
            all.users += usize::from(is_new);
            self.joined.notify_one();
        }
    }

    /// Waits for joins, and takes out those of the first room after `last`, so that a room that users keep joining
    /// delays no other.
    pub(super) async fn take_joins(&self, last: RoomNid) -> (RoomNid, RoomJoins) {
        loop {
            if let Some(taken) = self.joins.lock().take(last) {
                return taken;
            }
            self.joined.notified().await;
        }
    }

    /// Puts back what [`Self::take_joins`] returned.
    pub(super) fn put_joins_back(&self, room: RoomNid, back: RoomJoins) {
        let mut all = self.joins.lock();
        let joins = all.rooms.entry(room).or_default();
        let before = joins.len();
        joins.local.extend(back.local);
        joins.remote.extend(back.remote);
        let more = joins.len() - before;
        all.users += more;
    }

    fn put(&self, put: impl FnOnce(&mut Changes)) {
        put(&mut self.changes.lock());
        self.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::try_from(name).unwrap()
    }

    #[tokio::test]
    async fn joins_are_taken_room_by_room_and_no_room_delays_another() {
        let changes = OutgoingChanges::new("a".parse().unwrap());
        changes.join(1, user("@x:b"));
        changes.join(1, user("@y:a"));
        changes.join(2, user("@x:b"));
        let (room, joins) = changes.take_joins(RoomNid::MIN).await;
        assert_eq!((room, joins.local, joins.remote), (1, [user("@y:a")].into(), [user("@x:b")].into()));
        changes.join(1, user("@x:b"));
        let (room, joins) = changes.take_joins(room).await;
        assert_eq!(room, 2);
        // What came in meanwhile is counted with what is put back.
        changes.join(2, user("@z:b"));
        changes.put_joins_back(2, joins);
        let (room, _) = changes.take_joins(room).await;
        assert_eq!(room, 1);
        let (room, joins) = changes.take_joins(room).await;
        assert_eq!((room, joins.remote), (2, [user("@x:b"), user("@z:b")].into()));
        assert_eq!(changes.joins.lock().users, 0);
    }

    #[test]
    fn joins_are_kept_up_to_a_bound() {
        let changes = OutgoingChanges::new("a".parse().unwrap());
        for number in 0..=MAX_EPHEMERAL {
            changes.join(1, user(&format!("@u{number}:b")));
        }
        assert_eq!(changes.joins.lock().rooms[&1].remote.len(), MAX_EPHEMERAL);
    }
}
