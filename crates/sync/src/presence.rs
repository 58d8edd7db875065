//! Presence: kept in memory; the last state of each local user is stored when it changes.

mod state;
mod timers;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::{Rooms, UserRooms};
use plexus_store::repo::bounds::{self, BoundError};
use plexus_store::repo::presence::StoredPresence;
use plexus_store::{Database, DbError, RoomNid, repo};
use tokio::sync::Notify;

use crate::ephemeral::EphemeralSerial;
use crate::notifier::Notifier;

use state::UserPresence;
pub use state::{PresenceState, PresenceView};

/// The longest status message of a user, of this or another server, in bytes: it is sent to all users who can see it,
/// and kept in memory.
pub const MAX_STATUS_BYTES: usize = 2_048;
/// The most changes in the log; a sync that missed more gets everybody who is not offline.
const MAX_LOG_ENTRIES: usize = 16_384;

/// The options of the section `presence`.
#[derive(Debug, Clone)]
pub struct PresenceSettings {
    /// Whether presence is kept and sent at all.
    pub enabled: bool,
    /// Whether syncs and activity have no effect (`enabled: untracked`).
    pub untracked: bool,
    /// Whether an initial sync includes users who are offline.
    pub include_offline: bool,
    /// `exclude_rooms_from_presence`: being in one of them together is not enough to see each other's presence.
    pub exclude_rooms: Vec<RoomId>,
    /// For how long after an action a user counts as currently active.
    pub active_for: Duration,
    /// How long after the last sync of the last device a user goes offline.
    pub offline_after: Duration,
    /// How long after the last action a user becomes unavailable.
    pub idle_after: Duration,
}

impl Default for PresenceSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            untracked: false,
            include_offline: false,
            exclude_rooms: Vec::new(),
            active_for: Duration::from_secs(60),
            offline_after: Duration::from_secs(30),
            idle_after: Duration::from_secs(300),
        }
    }
}

/// The presence of all users. Owned by this process: other processes would have to be sent each change.
pub struct Presence {
    settings: PresenceSettings,
    clock: Clock,
    db: Database,
    serial: Arc<EphemeralSerial>,
    notifier: Arc<Notifier>,
    map: Mutex<PresenceMap>,
    work: Notify,
}

#[derive(Default)]
struct PresenceMap {
    users: HashMap<UserId, UserPresence>,
    log: VecDeque<(u64, UserId)>,
    log_after: u64,
    /// The users whose presence the task has to publish and store.
    dirty: Vec<UserId>,
    /// No later than the first moment (Unix ms) at which somebody becomes idle or goes offline.
    timer: Option<u64>,
}

/// A sync request in progress: while this is held, its device counts as connected.
pub struct Syncing {
    presence: Arc<Presence>,
    user: UserId,
}

impl Presence {
    /// Creates the service. Everybody is offline.
    #[must_use]
    pub fn new(
        settings: PresenceSettings,
        clock: Clock,
        db: Database,
        serial: Arc<EphemeralSerial>,
        notifier: Arc<Notifier>,
    ) -> Self {
        let map = Mutex::new(PresenceMap { log_after: serial.current(), ..PresenceMap::default() });
        Self { settings, clock, db, serial, notifier, map, work: Notify::new() }
    }

    /// Returns the options.
    pub fn settings(&self) -> &PresenceSettings {
        &self.settings
    }

    /// Sets the presence of a user who asks for it (`PUT /presence/{userId}/status`).
    ///
    /// # Errors
    /// `TooLarge` when the status message is longer than 2 KiB.
    pub fn set(&self, user: &UserId, state: PresenceState, status_msg: Option<String>) -> Result<(), BoundError> {
        let fits = status_msg.as_ref().is_none_or(|status| status.len() <= MAX_STATUS_BYTES);
        bounds::require(fits, "The status message is longer than 2048 bytes")?;
        let now = self.clock.now_ms();
        self.change(user, |presence| presence.set(state, status_msg, now));
        Ok(())
    }

    /// Records that the user did something: sent a message, read one, typed.
    pub fn active(&self, user: &UserId) {
        if !self.settings.untracked {
            let now = self.clock.now_ms();
            self.change(user, |presence| presence.active(now));
        }
    }

    /// Sets the presence of a user of another server, which sent it.
    pub fn set_remote(&self, user: &UserId, view: PresenceView) {
        let now = self.clock.now_ms();
        self.change(user, |presence| presence.set_remote(view, now));
    }

    /// Records that a device syncs. `None` if this has no effect on its user's presence.
    pub fn sync_started(self: &Arc<Self>, user: &UserId, device: &str, state: PresenceState) -> Option<Syncing> {
        if !self.settings.enabled || self.settings.untracked || state == PresenceState::Offline {
            return None;
        }
        let now = self.clock.now_ms();
        self.change(user, |presence| presence.sync_started(device, state, now));
        Some(Syncing { presence: Arc::clone(self), user: user.clone() })
    }

    /// Returns the rooms in which users do not see each other's presence (`exclude_rooms_from_presence`).
    pub async fn excluded_rooms(&self, rooms: &Rooms) -> Result<HashSet<RoomNid>, DbError> {
        let mut excluded = HashSet::new();
        for id in &self.settings.exclude_rooms {
            excluded.extend(rooms.get_readable(id).await?.map(|room| room.nid));
        }
        Ok(excluded)
    }

    /// Returns the presence of a user; from the database if it has not changed since the start.
    pub async fn get(&self, user: &UserId) -> Result<PresenceView, DbError> {
        if let Some(view) = self.view(user) {
            return Ok(view);
        }
        let key = user.to_string();
        let stored = self.db.read(move |tx| repo::presence::get(tx, &key)).await?;
        Ok(stored.map(PresenceView::last_known).unwrap_or_default())
    }

    /// Returns the presence of a user as far as it is in memory.
    pub fn view(&self, user: &UserId) -> Option<PresenceView> {
        self.map.lock().users.get(user).map(|presence| presence.view.clone())
    }

    /// Returns the users whose presence changed after `since`. After a gap, and with `since` 0: everybody who is not
    /// offline.
    pub fn changed(&self, since: u64) -> Vec<UserId> {
        let map = self.map.lock();
        if since < map.log_after {
            drop(map);
            return self.not_offline();
        }
        let start = map.log.partition_point(|(serial, _)| *serial <= since);
        let mut users: Vec<UserId> = map.log.range(start..).map(|(_, user)| user.clone()).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Everybody who is not offline; with `include_offline` everybody known.
    pub fn not_offline(&self) -> Vec<UserId> {
        let shown = |view: &PresenceView| self.settings.include_offline || view.state != PresenceState::Offline;
        let map = self.map.lock();
        let users = map.users.iter().filter(|(_, presence)| shown(&presence.view));
        users.map(|(user, _)| user.clone()).collect()
    }

    fn change(&self, user: &UserId, change: impl FnOnce(&mut UserPresence) -> bool) {
        if !self.settings.enabled {
            return;
        }
        let work = {
            let mut serial = self.serial.begin();
            let mut map = self.map.lock();
            let presence = map.users.entry(user.clone()).or_default();
            let changed = change(presence);
            let deadline = presence.deadline(&self.settings);
            if changed {
                map.log(serial.number(), user.clone());
            }
            map.set_timer(deadline) || changed
        };
        if work {
            self.work.notify_one();
        }
    }
}

impl PresenceMap {
    /// Sets an earlier timer. Returns whether the task has to wake earlier than it meant to.
    fn set_timer(&mut self, deadline: Option<u64>) -> bool {
        let earlier = deadline.is_some_and(|deadline| self.timer.is_none_or(|timer| deadline < timer));
        if earlier {
            self.timer = deadline;
        }
        earlier
    }

    fn log(&mut self, serial: u64, user: UserId) {
        if self.log.len() == MAX_LOG_ENTRIES
            && let Some((serial, _)) = self.log.pop_front()
        {
            self.log_after = serial;
        }
        self.dirty.push(user.clone());
        self.log.push_back((serial, user));
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        let now = self.presence.clock.now_ms();
        let mut map = self.presence.map.lock();
        let Some(presence) = map.users.get_mut(&self.user) else { return };
        presence.sync_ended(now);
        let deadline = presence.deadline(&self.presence.settings);
        if map.set_timer(deadline) {
            self.presence.work.notify_one();
        }
    }
}

/// Returns the `m.presence` event of a user.
#[must_use]
pub fn event(user: &UserId, view: &PresenceView, now_ms: u64) -> String {
    let mut out = String::with_capacity(128);
    let mut event = ObjectWriter::open(&mut out);
    let mut content = ObjectWriter::open(event.key("content"));
    view.write(&mut content, now_ms);
    content.close();
    event.string("sender", user.as_str());
    event.string("type", "m.presence");
    event.close();
    out
}

/// Whether two users are in a room together that is not `excluded`.
#[must_use]
pub fn share_room(one: &UserRooms, other: &UserRooms, excluded: &HashSet<RoomNid>) -> bool {
    one.shared_with(other).any(|room| !excluded.contains(&room))
}

fn stored(user: &UserId, view: &PresenceView) -> StoredPresence {
    StoredPresence {
        user_id: user.to_string(),
        presence: view.state.as_str().to_owned(),
        status_msg: view.status_msg.clone(),
        last_active_ts: view.last_active_ms.unwrap_or(0),
    }
}
