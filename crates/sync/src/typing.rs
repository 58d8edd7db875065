//! Typing notifications, in memory only.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::event::client::basic_event_json;
use plexus_protocol::id::UserId;
use plexus_protocol::json::ObjectWriter;
use plexus_store::RoomNid;
use tokio::sync::Notify;

use crate::ephemeral::EphemeralSerial;
use crate::notifier::Notifier;

/// The most changes in the log; a sync that missed more gets every room where somebody types.
const MAX_LOG_ENTRIES: usize = 4096;

/// The typing notifications of all rooms. Owned by this process: other processes would have to be sent each change.
pub struct Typing {
    clock: Clock,
    serial: Arc<EphemeralSerial>,
    notifier: Arc<Notifier>,
    state: Mutex<State>,
    /// Held while something changes and is announced, so that announcements are in the order of the changes.
    announcing: Mutex<()>,
    earlier_deadline: Notify,
}

#[derive(Default)]
struct State {
    /// Until when (on the monotonic clock) each user is typing.
    rooms: HashMap<RoomNid, BTreeMap<UserId, Duration>>,
    log: VecDeque<(u64, RoomNid)>,
    log_after: u64,
}

impl Typing {
    /// Creates the service. Nobody types.
    #[must_use]
    pub fn new(clock: Clock, serial: Arc<EphemeralSerial>, notifier: Arc<Notifier>) -> Self {
        let state = Mutex::new(State { log_after: serial.current(), ..State::default() });
        Self { clock, serial, notifier, state, announcing: Mutex::default(), earlier_deadline: Notify::new() }
    }

    /// Records that a user types for the next `timeout`, or until [`Self::stop`].
    pub fn start(&self, room: RoomNid, user: &UserId, timeout: Duration) {
        let until = self.clock.monotonic() + timeout;
        let _announcing = self.announcing.lock();
        let new = {
            let mut serial = self.serial.begin();
            let mut state = self.state.lock();
            let new = state.rooms.entry(room).or_default().insert(user.clone(), until).is_none();
            if new {
                state.log(serial.number(), room);
            }
            new
        };
        self.earlier_deadline.notify_one();
        if new {
            self.notifier.typing_changed(room, std::slice::from_ref(user), true);
        }
    }

    /// Records that a user stopped typing.
    pub fn stop(&self, room: RoomNid, user: &UserId) {
        let _announcing = self.announcing.lock();
        let stopped = self.remove(room, |typing, _| typing == user);
        self.notifier.typing_changed(room, &stopped, false);
    }

    /// Returns the users typing in a room, in order of user id.
    pub fn users(&self, room: RoomNid) -> Vec<UserId> {
        self.state.lock().rooms.get(&room).map(|users| users.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns the rooms whose typing users changed after `since`; after a gap all rooms where somebody types.
    pub fn changed_rooms(&self, since: u64) -> Vec<RoomNid> {
        let state = self.state.lock();
        if since < state.log_after {
            return state.rooms.keys().copied().collect();
        }
        let start = state.log.partition_point(|(serial, _)| *serial <= since);
        let mut rooms: Vec<RoomNid> = state.log.range(start..).map(|(_, room)| *room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        rooms
    }

    /// Lets typing users time out. Never ends.
    pub async fn run(&self) {
        loop {
            let next = self.state.lock().rooms.values().flat_map(BTreeMap::values).min().copied();
            let changed = self.earlier_deadline.notified();
            match next.map(|deadline| deadline.saturating_sub(self.clock.monotonic())) {
                None => changed.await,
                Some(Duration::ZERO) => self.expire(),
                Some(wait) => tokio::select! {
                    () = changed => {}
                    () = self.clock.sleep(wait) => {}
                },
            }
        }
    }

    fn expire(&self) {
        let now = self.clock.monotonic();
        let rooms: Vec<RoomNid> = self.state.lock().rooms.keys().copied().collect();
        for room in rooms {
            let _announcing = self.announcing.lock();
            let stopped = self.remove(room, |_, until| until <= now);
            self.notifier.typing_changed(room, &stopped, false);
        }
    }

    /// Removes users, and returns those who were typing.
    fn remove(&self, room: RoomNid, gone: impl Fn(&UserId, Duration) -> bool) -> Vec<UserId> {
        let mut serial = self.serial.begin();
        let mut state = self.state.lock();
        let Some(users) = state.rooms.get_mut(&room) else { return Vec::new() };
        let removed: Vec<UserId> =
            users.iter().filter(|(user, until)| gone(user, **until)).map(|(user, _)| user.clone()).collect();
        removed.iter().for_each(|user| _ = users.remove(user));
        if users.is_empty() {
            state.rooms.remove(&room);
        }
        if !removed.is_empty() {
            state.log(serial.number(), room);
        }
        removed
    }
}

impl State {
    fn log(&mut self, serial: u64, room: RoomNid) {
        if self.log.len() == MAX_LOG_ENTRIES
            && let Some((serial, _)) = self.log.pop_front()
        {
            self.log_after = serial;
        }
        self.log.push_back((serial, room));
    }
}

/// Returns the `m.typing` event of a room.
pub fn event<'u>(users: impl IntoIterator<Item = &'u UserId>) -> String {
    let mut content = String::new();
    let mut members = ObjectWriter::open(&mut content);
    members.strings("user_ids", users.into_iter().map(UserId::as_str));
    members.close();
    basic_event_json("m.typing", &content)
}
