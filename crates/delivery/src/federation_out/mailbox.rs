//! What there is to tell other servers, until somebody looks. Everything that is put in costs the same, whatever the number of
//! servers that will get it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use plexus_protocol::id::{ServerName, UserId};
use plexus_store::{Change, Position, RoomNid};
use tokio::sync::Notify;

/// How many ephemeral pieces of news are kept; more are lost while nobody looks, as they may be.
const KEPT: usize = 16_384;

/// Where the other parts of the program leave what other servers may have to know.
#[derive(Default)]
pub struct Mailbox {
    /// This server's name, once there is somebody who looks.
    open: OnceLock<ServerName>,
    news: Mutex<News>,
    arrived: Notify,
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
    /// Users of this server who came into a room.
    pub own_joins: BTreeSet<(RoomNid, UserId)>,
    /// Users of other servers who did.
    pub joins: BTreeSet<(RoomNid, UserId)>,
}

impl Mailbox {
    /// Takes note of durable changes. Called on the writer thread.
    pub(crate) fn committed(&self, changes: &[Change]) {
        let Some(own) = self.open.get() else { return };
        let mut any = false;
        let mut news = self.lock();
        for change in changes {
            match change {
                Change::Event { outgoing: true, .. } | Change::DeviceList { private: false, .. } => news.log = true,
                Change::Membership { user, room, joined: true, was_joined: false, .. } => {
                    let is_own = user.server_name() == own.as_str();
                    let joins = if is_own { &mut news.own_joins } else { &mut news.joins };
                    if joins.len() < KEPT {
                        joins.insert((*room, user.clone()));
                    }
                }
                Change::Receipt { room, position, private: false, .. } if news.receipts.len() < KEPT => {
                    news.receipts.push((*room, *position));
                }
                _ => continue,
            }
            any = true;
        }
        drop(news);
        if any {
            self.arrived.notify_one();
        }
    }

    /// There are messages for devices of `server`.
    pub(crate) fn to_device(&self, server: String) {
        self.put(|news| _ = news.to_device.insert(server));
    }

    /// A user began or stopped typing.
    pub(crate) fn typing(&self, room: RoomNid, user: &UserId, typing: bool) {
        self.put(|news| {
            if news.typing.len() < KEPT {
                news.typing.insert((room, user.clone()), typing);
            }
        });
    }

    /// The presence of users changed.
    pub(crate) fn presence<'u>(&self, users: impl Iterator<Item = &'u UserId>) {
        self.put(|news| {
            let room = KEPT.saturating_sub(news.presence.len());
            news.presence.extend(users.take(room).cloned());
        });
    }

    /// From now on what arrives is kept. Whoever calls this has to look.
    pub(super) fn open(&self, own: &ServerName) {
        // A second call would bring the same name.
        _ = self.open.set(own.clone());
    }

    /// Waits for news and takes them out.
    pub(super) async fn take(&self) -> News {
        self.arrived.notified().await;
        std::mem::take(&mut *self.lock())
    }

    fn put(&self, put: impl FnOnce(&mut News)) {
        if self.is_open() {
            put(&mut self.lock());
            self.arrived.notify_one();
        }
    }

    fn is_open(&self) -> bool {
        self.open.get().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
