//! The rooms in memory, within a budget of bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plexus_protocol::id::RoomId;
use plexus_store::RoomNid;

use crate::model::event_cache::EventCache;
use crate::model::room::Room;

/// The rooms in memory. Owned by this process, which follows the commits.
pub(crate) struct LoadedRooms {
    registry: Mutex<Registry>,
    /// The cache that the state events of these rooms are in.
    events: Arc<EventCache>,
    /// Counts uses of rooms, to find the least recently used.
    uses: AtomicU64,
    max_bytes: usize,
}

#[derive(Default)]
struct Registry {
    rooms: HashMap<RoomNid, Arc<Room>>,
    nids: HashMap<RoomId, RoomNid>,
    /// The rooms that are being read from the database.
    loading: HashMap<RoomNid, MissedCommits>,
    bytes: usize,
}

/// The commits that have been applied while a room was read: the reading may have missed them.
#[derive(Clone, Copy, Default)]
struct MissedCommits {
    /// The newest revision.
    revision: i64,
    /// Whether stored events may have been redacted.
    redacts: bool,
    /// Whether there may have been others.
    doubtful: bool,
}

/// A room that is being read from the database. Commits that are applied until it is inserted are noted.
pub(crate) struct Loading<'a> {
    rooms: &'a LoadedRooms,
    nid: RoomNid,
}

impl Loading<'_> {
    /// Adds the room as it was read. Returns the room that is in memory: another one if that was added meanwhile.
    pub(crate) fn insert(self, room: &Arc<Room>) -> Arc<Room> {
        self.rooms.insert(room)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.rooms.registry.lock().loading.remove(&self.nid);
    }
}

impl LoadedRooms {
    /// Creates an empty set of rooms. They take at most `max_bytes`, unless more are in use.
    pub(crate) fn new(events: Arc<EventCache>, max_bytes: usize) -> Self {
        Self { registry: Mutex::default(), events, uses: AtomicU64::new(1), max_bytes }
    }

    /// Returns the number of rooms, and their approximate size in bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let registry = self.registry.lock();
        (registry.rooms.len(), registry.bytes)
    }

    /// Returns a number that is greater than that of every earlier use of a room.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, nid: RoomNid) -> Option<Arc<Room>> {
        let registry = self.registry.lock();
        let room = registry.rooms.get(&nid)?;
        room.touch(self.uses.fetch_add(1, Ordering::Relaxed));
        Some(Arc::clone(room))
    }

    /// Returns the rooms that match. That does not count as a use.
    pub(crate) fn matching(&self, matches: impl Fn(&Room) -> bool) -> Vec<Arc<Room>> {
        self.registry.lock().rooms.values().filter(|room| matches(room)).cloned().collect()
    }

    pub(crate) fn nid_of(&self, id: &RoomId) -> Option<RoomNid> {
        self.registry.lock().nids.get(id).copied()
    }

    /// Starts to note commits to a room that is about to be read. A room is read by one task at a time.
    pub(crate) fn start_loading(&self, nid: RoomNid) -> Loading<'_> {
        self.registry.lock().loading.insert(nid, MissedCommits::default());
        Loading { rooms: self, nid }
    }

    /// Adds a room. Returns the room that is in memory: another one if that was added before.
    pub(crate) fn insert(&self, room: &Arc<Room>) -> Arc<Room> {
        let mut registry = self.registry.lock();
        if let Some(other) = registry.rooms.get(&room.nid) {
            return Arc::clone(other);
        }
        if let Some(missed) = registry.loading.get(&room.nid) {
            missed.mark(room);
        }
        room.touch(self.uses.fetch_add(1, Ordering::Relaxed));
        registry.rooms.insert(room.nid, Arc::clone(room));
        registry.nids.insert(room.id.clone(), room.nid);
        let bytes = weight(room);
        room.bytes.store(bytes, Ordering::Relaxed);
        registry.bytes += bytes;
        registry.evict(self.max_bytes);
        Arc::clone(room)
    }

    /// Removes a room. It is read again when it is next used.
    pub(crate) fn remove(&self, nid: RoomNid) {
        self.registry.lock().remove(nid);
    }

    /// Whether a room belongs to these, and not to another engine in the process.
    pub(crate) fn owns(&self, room: &Room) -> bool {
        room.uses(&self.events)
    }

    /// Updates the size of a room whose view has been taken to a revision. Returns the room that is in memory instead,
    /// if there is another: a room that is new, or whose version was corrected, may have been loaded a second time.
    pub(crate) fn advanced(&self, room: &Arc<Room>, revision: i64) -> Option<Arc<Room>> {
        let bytes = weight(room);
        let mut registry = self.registry.lock();
        if let Some(missed) = registry.loading.get_mut(&room.nid) {
            missed.revision = missed.revision.max(revision);
        }
        let registered = registry.rooms.get(&room.nid)?;
        if !Arc::ptr_eq(registered, room) {
            return Some(Arc::clone(registered));
        }
        let before = room.bytes.swap(bytes, Ordering::Relaxed);
        registry.bytes = (registry.bytes + bytes).saturating_sub(before);
        registry.evict(self.max_bytes);
        None
    }

    /// Notes that a room has a revision that memory may lack. `redacts`: whether stored events may have been redacted.
    pub(crate) fn mark_outdated(&self, nid: RoomNid, revision: i64, redacts: bool) {
        if redacts {
            self.events.clear();
        }
        let missed = MissedCommits { revision, redacts, doubtful: false };
        let mut registry = self.registry.lock();
        if let Some(known) = registry.loading.get_mut(&nid) {
            known.add(missed);
        }
        if let Some(room) = registry.rooms.get(&nid) {
            missed.mark(room);
        }
    }

    /// Notes that memory may have missed commits to any room.
    pub(crate) fn doubt_all(&self) {
        self.events.clear();
        let missed = MissedCommits { revision: 0, redacts: true, doubtful: true };
        let mut registry = self.registry.lock();
        registry.loading.values_mut().for_each(|known| known.add(missed));
        registry.rooms.values().for_each(|room| missed.mark(room));
    }

    /// Removes the rooms that nobody holds and that were last used before `use_number`, from [`Self::uses`].
    pub(crate) fn remove_unused(&self, use_number: u64) {
        let mut registry = self.registry.lock();
        let idle = registry.idle();
        idle.into_iter().filter(|(used, _)| *used < use_number).for_each(|(_, nid)| registry.remove(nid));
    }
}

impl MissedCommits {
    fn add(&mut self, other: Self) {
        self.revision = self.revision.max(other.revision);
        self.redacts |= other.redacts;
        self.doubtful |= other.doubtful;
    }

    fn mark(self, room: &Room) {
        if self.redacts {
            room.note_redaction();
        }
        if self.doubtful {
            room.doubt();
        }
        room.mark_outdated(self.revision);
    }
}

impl Registry {
    /// Over the budget, removes the least recently used rooms that nobody holds until a tenth of the budget is free.
    fn evict(&mut self, max_bytes: usize) {
        if self.bytes <= max_bytes {
            return;
        }
        let mut idle = self.idle();
        idle.sort_unstable();
        for (_, nid) in idle {
            if self.bytes <= max_bytes - max_bytes / 10 {
                break;
            }
            self.remove(nid);
        }
    }

    /// Returns the rooms that nobody holds, each with the number of its last use.
    fn idle(&self) -> Vec<(u64, RoomNid)> {
        let idle = self.rooms.values().filter(|room| Arc::strong_count(room) == 1);
        idle.map(|room| (room.last_used(), room.nid)).collect()
    }

    fn remove(&mut self, nid: RoomNid) {
        if let Some(room) = self.rooms.remove(&nid) {
            self.nids.remove(&room.id);
            self.bytes = self.bytes.saturating_sub(room.bytes.load(Ordering::Relaxed));
        }
    }
}

/// Returns the approximate size of a room in bytes.
fn weight(room: &Room) -> usize {
    let view = room.view();
    const ROOM: usize = 3_072;
    // The state events that a room keeps in memory when they are no longer among the recent ones.
    const KEPT_STATE: usize = 11_500;
    const STATE_ENTRY: usize = 192;
    let kept = if view.recent_after > 0 { KEPT_STATE } else { 0 };
    let recent: usize = view.recent.iter().map(|event| event.weight()).sum();
    let requested = ROOM + kept + view.state.len() * STATE_ENTRY + recent;
    // An allocator takes about an eighth more than it is asked for.
    requested + requested / 8 + room.auth_bytes.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use plexus_base::Clock;
    use plexus_protocol::rules::RoomVersion;
    use plexus_store::Database;

    use super::*;
    use crate::model::erased_users::ErasedUsers;
    use crate::model::room::SharedMemory;
    use crate::model::room_view::RoomView;
    use crate::model::sticky_events::StickyEvents;

    const NID: RoomNid = 7;

    fn rooms_and_room(db: Database, revision: i64) -> (LoadedRooms, Arc<Room>) {
        let events = Arc::new(EventCache::new(1 << 20));
        let rooms = LoadedRooms::new(Arc::clone(&events), 1 << 20);
        (rooms, room(db, events, NID, revision))
    }

    fn room(db: Database, events: Arc<EventCache>, nid: RoomNid, revision: i64) -> Arc<Room> {
        let id = RoomId::try_from(format!("!room{nid}:localhost").as_str()).unwrap();
        let redactions = events.redactions();
        let view = RoomView::empty(RoomVersion::V11);
        let (erased, sticky) = (ErasedUsers::default(), StickyEvents::new(false, Clock::manual(0)));
        let shared = SharedMemory { events, erased, sticky };
        Arc::new(Room::new(db, shared, (nid, id, RoomVersion::V11), (revision, redactions), view))
    }

    #[test]
    fn above_the_budget_the_least_recently_used_rooms_go_until_a_tenth_is_free() {
        for database in plexus_testkit::databases() {
            let events = Arc::new(EventCache::new(1 << 20));
            let new = |nid| room(database.db(), Arc::clone(&events), nid, 1);
            let rooms = LoadedRooms::new(Arc::clone(&events), 10 * weight(&new(0)));
            let held = new(1);
            rooms.insert(&held);
            (2..=10).for_each(|nid| _ = rooms.insert(&new(nid)));
            assert_eq!(rooms.size().0, 10);
            rooms.get(2);
            rooms.insert(&new(11));
            let gone: Vec<RoomNid> = (1..=11).filter(|nid| rooms.get(*nid).is_none()).collect();
            assert_eq!(gone, [3, 4], "room 1 is held, and room 2 was used later");
        }
    }

    #[test]
    fn a_commit_while_a_room_is_read_makes_it_outdated() {
        for database in plexus_testkit::databases() {
            let (rooms, room) = rooms_and_room(database.db(), 5);
            let loading = rooms.start_loading(NID);
            let before = room.redactions();
            rooms.mark_outdated(NID, 6, true);
            let inserted = loading.insert(&room);
            assert!(inserted.is_outdated());
            assert_ne!(inserted.redactions(), before);

            // The commit was read, or came before the reading.
            let (rooms, room) = rooms_and_room(database.db(), 6);
            rooms.mark_outdated(NID, 6, false);
            let loading = rooms.start_loading(NID);
            rooms.mark_outdated(NID, 6, false);
            assert!(!loading.insert(&room).is_outdated());
        }
    }

    #[test]
    fn doubt_while_a_room_is_read_makes_it_outdated() {
        for database in plexus_testkit::databases() {
            let (rooms, room) = rooms_and_room(database.db(), 5);
            let loading = rooms.start_loading(NID);
            rooms.doubt_all();
            assert!(loading.insert(&room).is_outdated());
        }
    }

    #[test]
    fn settled_doubt_hides_no_commit() {
        for database in plexus_testkit::databases() {
            let (rooms, room) = rooms_and_room(database.db(), 5);
            rooms.insert(&room);
            rooms.doubt_all();
            let doubts = room.doubts();
            // The very revision that was doubted is committed while the room is read, which misses it.
            rooms.mark_outdated(NID, 6, false);
            room.settle_doubts(doubts);
            assert!(room.is_outdated());
            room.replace(6, RoomView::empty(RoomVersion::V11));
            assert!(!room.is_outdated());
            // Doubt that arises while the room is read is not settled by it.
            let doubts = room.doubts();
            rooms.doubt_all();
            room.settle_doubts(doubts);
            assert!(room.is_outdated());
        }
    }

    #[test]
    fn the_room_in_memory_is_returned_for_a_second_one() {
        for database in plexus_testkit::databases() {
            let (rooms, room) = rooms_and_room(database.db(), 1);
            let (_, created) = rooms_and_room(database.db(), 1);
            assert!(Arc::ptr_eq(&rooms.insert(&room), &room));
            assert!(Arc::ptr_eq(&rooms.insert(&created), &room));
            assert!(rooms.advanced(&created, 2).is_some_and(|other| Arc::ptr_eq(&other, &room)));
            assert!(rooms.advanced(&room, 2).is_none());
        }
    }
}
