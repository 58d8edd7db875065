//! The sticky events of all rooms (MSC4354).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use plexus_base::Clock;
use plexus_protocol::membership::Membership;
use plexus_store::{Database, DbError, EventNid, Position, RoomNid, StickyEvent, repo};
use tokio::sync::Notify;

use crate::model::memberships::UserRooms;

/// The most events of a room that are sticky at a time, for calls of hundreds of devices: of this server, and of all
/// others, so that those cannot crowd out this one's. Others are ordinary events.
const MAX_EVENTS_IN_ROOM: usize = 2_000;
/// The most bytes of a room's sticky events, likewise: a client that joins gets all of them.
const MAX_BYTES_IN_ROOM: u64 = 4 << 20;
/// A sender has at most one in so many of the events and bytes of a room.
const MAX_SHARE_OF_SENDER: usize = 10;
/// The most soft-failed events of a room: all are judged again when the room's state changes.
const MAX_SOFT_FAILED_IN_ROOM: usize = 100;

/// The sticky events, without the events themselves. Owned by this process, which follows the commits. All are in
/// memory: they are few, and every sync asks for them.
#[derive(Debug, Clone)]
pub struct StickyEvents(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_enabled: bool,
    clock: Clock,
    /// The number of events in all rooms.
    count: AtomicUsize,
    rooms: RwLock<HashMap<RoomNid, RoomSticky>>,
    /// The rooms that changed and have soft-failed sticky events.
    changed: Mutex<BTreeSet<RoomNid>>,
    /// Notified when a room is added to `changed`.
    has_changed: Notify,
}

/// The sticky events of a room.
#[derive(Debug, Default)]
struct RoomSticky {
    /// In the order of their positions.
    shown: Vec<StickyEvent>,
    soft_failed: Vec<StickyEvent>,
}

impl RoomSticky {
    fn add(&mut self, event: StickyEvent) {
        self.remove(|old| old.event_nid == event.event_nid);
        let list = if event.soft_failed { &mut self.soft_failed } else { &mut self.shown };
        let at = list.partition_point(|other| other.position < event.position);
        list.insert(at, event);
    }

    fn remove(&mut self, is_old: impl Fn(&StickyEvent) -> bool) {
        self.shown.retain(|event| !is_old(event));
        self.soft_failed.retain(|event| !is_old(event));
    }

    fn len(&self) -> usize {
        self.shown.len() + self.soft_failed.len()
    }
}

impl StickyEvents {
    pub(crate) fn new(is_enabled: bool, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            is_enabled,
            clock,
            count: AtomicUsize::new(0),
            rooms: RwLock::default(),
            changed: Mutex::default(),
            has_changed: Notify::new(),
        }))
    }

    /// Whether events can be sticky at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.is_enabled
    }

    /// Reads the events, or deletes them if none can be sticky any more. Called before any client syncs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(&self, db: &Database) -> Result<(), DbError> {
        let events = db.read(repo::sticky_events::all).await?;
        if self.is_enabled() {
            // The process may have ended before a change of the state was taken into account.
            let soft_failed = events.iter().filter(|event| event.soft_failed).map(|event| event.room_nid).collect();
            events.into_iter().for_each(|event| self.apply(event));
            self.judge_again(soft_failed);
        } else if let Some(expired_ts) = events.iter().map(|event| event.expires_ts).max() {
            while !db.write(move |tx| repo::sticky_events::delete_expired(tx, expired_ts)).await? {}
        }
        Ok(())
    }

    /// Whether there is none: true where nobody uses them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) == 0
    }

    /// Returns the events of a room that clients get, in the order of their positions.
    #[must_use]
    pub fn in_room(&self, room: RoomNid) -> Vec<StickyEvent> {
        if self.is_empty() {
            return Vec::new();
        }
        let now_ms = self.0.clock.now_ms();
        let rooms = self.0.rooms.read();
        let shown = rooms.get(&room).map(|room| room.shown.iter()).unwrap_or_default();
        shown.filter(|event| event.expires_ts > now_ms).copied().collect()
    }

    /// Whether an event of a room is sticky: whoever is in the room may see it, whatever the history visibility.
    #[must_use]
    pub fn contains(&self, room: RoomNid, event: EventNid) -> bool {
        if self.is_empty() {
            return false;
        }
        let now_ms = self.0.clock.now_ms();
        let is_it = |sticky: &StickyEvent| sticky.event_nid == event && sticky.expires_ts > now_ms;
        self.0.rooms.read().get(&room).is_some_and(|room| room.shown.iter().any(is_it))
    }

    /// Returns the rooms that a user is joined to and that have such events, with the position of the newest.
    #[must_use]
    pub fn newest_in(&self, user: &UserRooms) -> Vec<(RoomNid, Position)> {
        if self.is_empty() {
            return Vec::new();
        }
        let now_ms = self.0.clock.now_ms();
        let rooms = self.0.rooms.read();
        let newest = |nid: RoomNid| {
            let newest = rooms.get(&nid)?.shown.iter().rev().find(|event| event.expires_ts > now_ms)?;
            Some((nid, newest.position))
        };
        let is_joined = |nid: &RoomNid| user.get(*nid).is_some_and(|membership| membership.kind == Membership::Join);
        // The user or the server may have many rooms.
        if user.joined().count() < rooms.len() {
            user.joined().filter_map(newest).collect()
        } else {
            rooms.keys().copied().filter(is_joined).filter_map(newest).collect()
        }
    }

    /// Whether an event of this size can be sticky in a room, besides those that are.
    pub(crate) fn has_space(&self, event: &StickyEvent) -> bool {
        if self.is_empty() {
            return true;
        }
        let now_ms = self.0.clock.now_ms();
        let rooms = self.0.rooms.read();
        let Some(room) = rooms.get(&event.room_nid) else { return true };
        let sticky = || room.shown.iter().chain(&room.soft_failed).filter(|event| event.expires_ts > now_ms);
        let of_same_servers = || sticky().filter(|other| other.is_own == event.is_own);
        let of_sender = || sticky().filter(|other| other.sender == event.sender);
        let bytes = |events: &mut dyn Iterator<Item = &StickyEvent>| events.map(|event| event.bytes).sum::<u64>();
        let soft_failed = room.soft_failed.iter().filter(|event| event.expires_ts > now_ms).count();
        of_same_servers().count() < MAX_EVENTS_IN_ROOM
            && bytes(&mut of_same_servers()) + event.bytes <= MAX_BYTES_IN_ROOM
            && of_sender().count() < MAX_EVENTS_IN_ROOM / MAX_SHARE_OF_SENDER
            && bytes(&mut of_sender()) + event.bytes <= MAX_BYTES_IN_ROOM / MAX_SHARE_OF_SENDER as u64
            && (!event.soft_failed || soft_failed < MAX_SOFT_FAILED_IN_ROOM)
    }

    /// Returns an event that is sticky, or would be if it were not soft-failed.
    pub(crate) fn find(&self, room: RoomNid, event: EventNid) -> Option<StickyEvent> {
        if self.is_empty() {
            return None;
        }
        let now_ms = self.0.clock.now_ms();
        let rooms = self.0.rooms.read();
        let room = rooms.get(&room)?;
        let is_it = |sticky: &&StickyEvent| sticky.event_nid == event && sticky.expires_ts > now_ms;
        room.shown.iter().chain(&room.soft_failed).find(is_it).copied()
    }

    /// Returns the soft-failed events of a room.
    pub(crate) fn soft_failed(&self, room: RoomNid) -> Vec<EventNid> {
        let now_ms = self.0.clock.now_ms();
        let rooms = self.0.rooms.read();
        let soft_failed = rooms.get(&room).map(|room| room.soft_failed.iter()).unwrap_or_default();
        soft_failed.filter(|event| event.expires_ts > now_ms).map(|event| event.event_nid).collect()
    }

    /// Adds an event, or replaces it.
    pub(crate) fn apply(&self, event: StickyEvent) {
        if !self.is_enabled() {
            return;
        }
        let mut rooms = self.0.rooms.write();
        let room = rooms.entry(event.room_nid).or_default();
        let before = room.len();
        room.add(event);
        self.0.count.fetch_add(room.len() - before, Ordering::Relaxed);
    }

    /// Notes that a room changed: its soft-failed events may be allowed now.
    pub(crate) fn note_change(&self, room: RoomNid) {
        if self.is_empty() || self.0.rooms.read().get(&room).is_none_or(|room| room.soft_failed.is_empty()) {
            return;
        }
        self.judge_again(BTreeSet::from([room]));
    }

    /// Has the soft-failed events of rooms judged again.
    pub(crate) fn judge_again(&self, rooms: BTreeSet<RoomNid>) {
        self.0.changed.lock().extend(rooms);
        self.0.has_changed.notify_one();
    }

    /// Waits for rooms that changed, and takes them out. For one caller.
    pub(crate) async fn take_changed(&self) -> BTreeSet<RoomNid> {
        loop {
            let changed = std::mem::take(&mut *self.0.changed.lock());
            if !changed.is_empty() {
                return changed;
            }
            self.0.has_changed.notified().await;
        }
    }

    /// Removes the events that are not sticky any more.
    pub(crate) fn remove_expired(&self, now_ms: u64) {
        let mut rooms = self.0.rooms.write();
        rooms.retain(|_, room| {
            room.remove(|event| event.expires_ts <= now_ms);
            room.len() > 0
        });
        self.0.count.store(rooms.values().map(RoomSticky::len).sum(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(event_nid: EventNid, soft_failed: bool) -> StickyEvent {
        StickyEvent {
            event_nid,
            room_nid: 1,
            position: event_nid,
            sender: event_nid,
            expires_ts: 1_000,
            bytes: 1_000,
            is_own: false,
            soft_failed,
        }
    }

    #[test]
    fn events_are_sticky_until_they_expire() {
        let clock = Clock::manual(999);
        let sticky = StickyEvents::new(true, clock.clone());
        sticky.apply(event(2, false));
        sticky.apply(event(1, false));
        let shown = || sticky.in_room(1).iter().map(|event| event.event_nid).collect::<Vec<_>>();
        assert_eq!((shown(), sticky.in_room(2)), (vec![1, 2], vec![]));
        assert!(sticky.contains(1, 2) && !sticky.contains(1, 3) && !sticky.contains(2, 2));
        clock.advance(Duration::from_millis(1));
        assert!(shown().is_empty() && !sticky.contains(1, 2));
        sticky.remove_expired(1_000);
        assert!(sticky.is_empty());
    }

    #[test]
    fn a_soft_failed_event_is_shown_when_it_is_allowed() {
        let sticky = StickyEvents::new(true, Clock::manual(0));
        sticky.apply(event(1, true));
        assert_eq!((sticky.in_room(1), sticky.soft_failed(1)), (vec![], vec![1]));
        sticky.apply(StickyEvent { position: 7, ..event(1, false) });
        assert_eq!((sticky.in_room(1).len(), sticky.soft_failed(1)), (1, vec![]));
    }

    #[test]
    fn a_room_has_a_bounded_number_of_them() {
        let clock = Clock::manual(0);
        let sticky = StickyEvents::new(true, clock.clone());
        let bounds = [(true, MAX_SOFT_FAILED_IN_ROOM), (false, MAX_EVENTS_IN_ROOM - MAX_SOFT_FAILED_IN_ROOM)];
        for (soft_failed, most) in bounds {
            for _ in 0..most {
                let next = event(sticky.0.count.load(Ordering::Relaxed) as EventNid, soft_failed);
                assert!(sticky.has_space(&next));
                sticky.apply(next);
            }
            assert!(!sticky.has_space(&event(9_999, soft_failed)));
        }
        // Those that have expired do not count.
        clock.advance(Duration::from_secs(1));
        assert!(sticky.has_space(&event(9_999, true)));
        let other = StickyEvents::new(true, Clock::manual(0));
        other.apply(StickyEvent { bytes: MAX_BYTES_IN_ROOM, ..event(1, false) });
        assert!(!other.has_space(&event(2, false)));
        // Those of other servers do not use up the space of this one's.
        assert!(other.has_space(&StickyEvent { is_own: true, ..event(2, false) }));
    }

    #[test]
    fn a_sender_has_a_share_of_a_room() {
        let sticky = StickyEvents::new(true, Clock::manual(0));
        let of_sender = |nid, sender| StickyEvent { sender, ..event(nid, false) };
        for nid in 0..200 {
            assert!(sticky.has_space(&of_sender(nid, 7)));
            sticky.apply(of_sender(nid, 7));
        }
        assert!(!sticky.has_space(&of_sender(200, 7)) && sticky.has_space(&of_sender(200, 8)));
        // One that was redacted does not count.
        sticky.apply(StickyEvent { expires_ts: 0, ..of_sender(5, 7) });
        assert!(sticky.has_space(&of_sender(200, 7)) && sticky.find(1, 5).is_none() && sticky.find(1, 6).is_some());
        let large = StickyEvents::new(true, Clock::manual(0));
        large.apply(StickyEvent { bytes: 400_000, ..of_sender(1, 7) });
        let next = StickyEvent { bytes: 60_000, ..of_sender(2, 7) };
        assert!(!large.has_space(&next) && large.has_space(&StickyEvent { sender: 8, ..next }));
    }
}
