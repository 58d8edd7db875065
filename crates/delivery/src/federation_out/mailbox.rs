//! What there is to tell other servers, until somebody looks. Everything that is put in costs the same, whatever the number of
//! servers that will get it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use parking_lot::Mutex;
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::{Change, CommitListener, Position, RoomNid};
use plexus_sync::notifier::EphemeralListener;
use tokio::sync::Notify;

/// How many ephemeral pieces of news are kept; more are lost while nobody looks, as they may be.
const KEPT: usize = 16_384;

/// Collects what other servers may have to know. Owned by this process: it follows the commits.
pub(super) struct Mailbox {
    server_name: ServerName,
    news: Mutex<News>,
    arrived: Notify,
    joins: Mutex<AllJoins>,
    joined: Notify,
}

/// What has arrived.
#[derive(Default)]
pub(super) struct News {
    /// There are durable changes: events, devices.
    pub log: bool,
    /// Servers for whose devices there are messages.
    pub to_device: BTreeSet<String>,
    /// Who began (true) or stopped typing.
    pub typing: BTreeMap<(RoomNid, UserId), bool>,
    /// Public receipts.
    pub receipts: Vec<(RoomNid, Position)>,
    /// Users whose presence changed.
    pub presence: BTreeSet<UserId>,
}

/// Who came into a room.
#[derive(Default)]
pub(super) struct Joins {
    /// Users of this server.
    pub own: BTreeSet<UserId>,
    /// Users of other servers.
    pub others: BTreeSet<UserId>,
}

/// The joins of all rooms.
#[derive(Default)]
struct AllJoins {
    rooms: BTreeMap<RoomNid, Joins>,
    /// How many users they have.
    users: usize,
}

impl AllJoins {
    fn take(&mut self, last: RoomNid) -> Option<(RoomNid, Joins)> {
        let after = self.rooms.range((Bound::Excluded(last), Bound::Unbounded)).next();
        let (&room, _) = after.or(self.rooms.first_key_value())?;
        let joins = self.rooms.remove(&room)?;
        self.users -= joins.len();
        Some((room, joins))
    }
}

impl Joins {
    fn len(&self) -> usize {
        self.own.len() + self.others.len()
    }
}

impl CommitListener for Mailbox {
    fn published(&self, _position: Position, changes: &[Change]) {
        let mut any = false;
        let mut news = self.news.lock();
        for change in changes {
            match change {
                Change::Event { outgoing: true, .. } | Change::DeviceList { private: false, .. } => news.log = true,
                Change::Membership { user, room, joined: true, was_joined: false, .. } => {
                    self.join(*room, user.clone());
                    continue;
                }
                Change::Receipt { room, position, private: false, .. } if news.receipts.len() < KEPT => {
                    news.receipts.push((*room, *position));
                }
                Change::FederationToDevice { server, .. } => _ = news.to_device.insert(server.clone()),
                _ => continue,
            }
            any = true;
        }
        drop(news);
        if any {
            self.arrived.notify_one();
        }
    }
}

impl EphemeralListener for Mailbox {
    fn typing_changed(&self, room: RoomNid, user: &UserId, typing: bool) {
        self.put(|news| {
            if news.typing.len() < KEPT {
                news.typing.insert((room, user.clone()), typing);
            }
        });
    }

    fn presence_changed(&self, users: &BTreeSet<UserId>) {
        self.put(|news| {
            let room = KEPT.saturating_sub(news.presence.len());
            news.presence.extend(users.iter().take(room).cloned());
        });
    }
}

impl Mailbox {
    pub fn new(server_name: ServerName) -> Self {
        Self {
            server_name,
            news: Mutex::default(),
            arrived: Notify::new(),
            joins: Mutex::default(),
            joined: Notify::new(),
        }
    }

    /// Waits for news and takes them out.
    pub(super) async fn take(&self) -> News {
        self.arrived.notified().await;
        std::mem::take(&mut *self.news.lock())
    }

    fn join(&self, room: RoomNid, user: UserId) {
        let mut all = self.joins.lock();
        if all.users < KEPT {
            let joins = all.rooms.entry(room).or_default();
            let is_own = user.server_name() == self.server_name.as_str();
            let is_new = if is_own { &mut joins.own } else { &mut joins.others }.insert(user);
            all.users += usize::from(is_new);
            self.joined.notify_one();
        }
    }

    /// Waits for joins and takes out those of one room: of the first one after `last`, so that a room that somebody
    /// keeps joining holds up no other.
    pub(super) async fn take_joins(&self, last: RoomNid) -> (RoomNid, Joins) {
        loop {
            if let Some(taken) = self.joins.lock().take(last) {
                return taken;
            }
            self.joined.notified().await;
        }
    }

    /// Puts back what [`Self::take_joins`] returned.
    pub(super) fn put_joins_back(&self, room: RoomNid, back: Joins) {
        let mut all = self.joins.lock();
        let joins = all.rooms.entry(room).or_default();
        let before = joins.len();
        joins.own.extend(back.own);
        joins.others.extend(back.others);
        let more = joins.len() - before;
        all.users += more;
    }

    fn put(&self, put: impl FnOnce(&mut News)) {
        put(&mut self.news.lock());
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
    async fn joins_are_taken_room_by_room_and_no_room_holds_up_another() {
        let mailbox = Mailbox::new("a".parse().unwrap());
        mailbox.join(1, user("@x:b"));
        mailbox.join(1, user("@y:a"));
        mailbox.join(2, user("@x:b"));
        let (room, joins) = mailbox.take_joins(RoomNid::MIN).await;
        assert_eq!((room, joins.own, joins.others), (1, [user("@y:a")].into(), [user("@x:b")].into()));
        mailbox.join(1, user("@x:b"));
        let (room, joins) = mailbox.take_joins(room).await;
        assert_eq!(room, 2);
        // What came in meanwhile is counted with what is put back.
        mailbox.join(2, user("@z:b"));
        mailbox.put_joins_back(2, joins);
        let (room, _) = mailbox.take_joins(room).await;
        assert_eq!(room, 1);
        let (room, joins) = mailbox.take_joins(room).await;
        assert_eq!((room, joins.others), (2, [user("@x:b"), user("@z:b")].into()));
        assert_eq!(mailbox.joins.lock().users, 0);
    }

    #[test]
    fn joins_are_kept_up_to_a_bound() {
        let mailbox = Mailbox::new("a".parse().unwrap());
        for number in 0..=KEPT {
            mailbox.join(1, user(&format!("@u{number}:b")));
        }
        assert_eq!(mailbox.joins.lock().rooms[&1].others.len(), KEPT);
    }
}
