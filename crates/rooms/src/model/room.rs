//! A room in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use plexus_protocol::id::RoomId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::{Database, DbError, EventNid, RoomNid};
use tokio::sync::{Mutex, Notify};

use crate::model::auth_index::AuthIndex;
use crate::model::erased_users::ErasedUsers;
use crate::model::event_cache::EventCache;
use crate::model::head::Head;
use crate::model::room_view::RoomView;
use crate::model::state_map::StateEntry;
use crate::model::sticky_events::StickyEvents;
use crate::model::timeline_event::TimelineEvent;

/// The maximum time, in ms, that an event may be ahead of this server's clock without being stored as late. Otherwise
/// every later event would be late, until the clock catches up.
const MAX_AHEAD_MS: u64 = 5 * 60_000;

/// A room in memory. One writer at a time changes it; readers use [`Room::view`]. Its view is owned by this process,
/// which follows the commits; its locks are owned by the process that writes to the room.
pub struct Room {
    /// The number of the room.
    pub nid: RoomNid,
    /// The room's id.
    pub id: RoomId,
    /// The room's version.
    pub version: RoomVersion,
    /// The database.
    pub db: Database,
    events: Arc<EventCache>,
    /// The erased users of this server.
    pub erased: ErasedUsers,
    /// The sticky events of all rooms.
    pub sticky: StickyEvents,
    pub(crate) head: Mutex<Head>,
    /// The auth chains of the room, for state resolution.
    pub auth: Mutex<AuthIndex>,
    /// The approximate size of `auth` in bytes.
    pub auth_bytes: AtomicUsize,
    /// Held while history is fetched from other servers. The gaps that no server could fill, each with the time on the
    /// monotonic clock at which it may be tried again.
    pub backfilling: Mutex<HashMap<EventNid, Duration>>,
    /// Held while this server joins the room.
    pub entering: Mutex<()>,
    /// Held by an upgrade. The tombstone of the last upgrade, if that succeeded.
    pub(crate) upgrading: Mutex<Option<EventNid>>,
    /// Held while events that may be stored already are looked up and written.
    pub(crate) adding: Mutex<()>,
    /// Notified when a request waits for the rest of the room's state, or a server of the room is reachable again.
    pub state_requested: Notify,
    /// Notified when the room's state is complete.
    pub(crate) state_completed: Notify,
    view: ArcSwap<RoomView>,
    /// The row's revision as of the view.
    revision: AtomicI64,
    /// The newest revision that is known to be committed. The view may be newer.
    known_revision: AtomicI64,
    /// The number of times that memory may have missed commits to the room.
    doubts: AtomicU64,
    /// The number of those after which the room has been read.
    settled_doubts: AtomicU64,
    /// Held while view and revision are replaced.
    replacing: parking_lot::Mutex<()>,
    /// At least the `origin_server_ts` of the newest event that is not late. Only used by writers of events.
    pub(crate) latest_ts: AtomicI64,
    /// See [`Room::redactions`].
    redactions: AtomicU64,
    /// Incremented when a commit has failed: events that were built on it are void.
    pub(crate) epoch: AtomicU64,
    /// The approximate size of the room in bytes, as [`LoadedRooms`](crate::model::loaded_rooms) counts it.
    pub(crate) bytes: AtomicUsize,
    used: AtomicU64,
}

/// What all rooms in memory share.
pub struct SharedMemory {
    pub(crate) events: Arc<EventCache>,
    pub(crate) erased: ErasedUsers,
    pub(crate) sticky: StickyEvents,
}

impl Room {
    /// Creates a room with its row's revision, and its count of redactions.
    pub fn new(
        db: Database,
        SharedMemory { events, erased, sticky }: SharedMemory,
        (nid, id, version): (RoomNid, RoomId, RoomVersion),
        (revision, redactions): (i64, u64),
        view: RoomView,
    ) -> Self {
        Self {
            nid,
            id,
            version,
            db,
            events,
            erased,
            sticky,
            head: Mutex::new(Head::of(&view, 0)),
            auth: Mutex::default(),
            auth_bytes: AtomicUsize::new(0),
            backfilling: Mutex::default(),
            entering: Mutex::default(),
            upgrading: Mutex::default(),
            adding: Mutex::default(),
            state_requested: Notify::new(),
            state_completed: Notify::new(),
            view: ArcSwap::from_pointee(view),
            revision: AtomicI64::new(revision),
            known_revision: AtomicI64::new(revision),
            doubts: AtomicU64::new(0),
            settled_doubts: AtomicU64::new(0),
            replacing: parking_lot::Mutex::default(),
            latest_ts: AtomicI64::new(i64::MIN),
            redactions: AtomicU64::new(redactions),
            epoch: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            used: AtomicU64::new(0),
        }
    }

    /// Returns the room as of the last commit that changed it. It is replaced before that commit's position is
    /// published.
    #[must_use]
    pub fn view(&self) -> Arc<RoomView> {
        self.view.load_full()
    }

    /// Whether the room's state events are in this cache.
    pub(crate) fn uses(&self, events: &Arc<EventCache>) -> bool {
        Arc::ptr_eq(&self.events, events)
    }

    /// Returns the row's revision as of the view, or of an earlier view.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Returns the revision that a head of this epoch was copied from, or a later one that was built on that head;
    /// `None` if the room has been read again since: what was built on the head is void.
    pub(crate) fn revision_of(&self, epoch: u64) -> Option<i64> {
        // First: a room that is read again gets its new epoch before its view and revision.
        let revision = self.revision();
        (self.epoch.load(Ordering::Acquire) == epoch).then_some(revision)
    }

    /// Takes the view to the next revision. A revision that memory has already changes nothing; after a missed one, the
    /// room is only marked as outdated.
    pub(crate) fn advance(&self, revision: i64, view: impl FnOnce() -> RoomView) {
        let _replacing = self.replacing.lock();
        if self.revision() + 1 == revision {
            self.view.store(Arc::new(view()));
            self.revision.store(revision, Ordering::Release);
        } else {
            self.mark_outdated(revision);
        }
    }

    /// Replaces the view by one that was read, unless memory has a newer one.
    pub(crate) fn replace(&self, revision: i64, view: RoomView) {
        let _replacing = self.replacing.lock();
        if self.revision() < revision {
            self.view.store(Arc::new(view));
            self.revision.store(revision, Ordering::Release);
        }
    }

    /// Notes that a revision is committed.
    pub(crate) fn mark_outdated(&self, revision: i64) {
        self.known_revision.fetch_max(revision, Ordering::AcqRel);
    }

    /// Whether the database may have a revision that memory lacks.
    pub(crate) fn is_outdated(&self) -> bool {
        self.known_revision.load(Ordering::Acquire) > self.revision()
            || self.doubts() > self.settled_doubts.load(Ordering::Acquire)
    }

    /// Notes that memory may have missed commits to the room.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the number of times that the room was doubted.
    pub(crate) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Acquire)
    }

    /// Notes that the room has been read since it was doubted for the `count`th time.
    pub(crate) fn settle_doubts(&self, count: u64) {
        self.settled_doubts.fetch_max(count, Ordering::AcqRel);
    }

    /// Whether an event that is added to the timeline now is late ([`plexus_store::repo::events::near_time`]). If not,
    /// it is the latest; an event that is not committed in the end may make others late, which does no harm.
    pub(crate) fn comes_late(&self, ts: i64, now_ms: u64) -> bool {
        let too_early = u64::try_from(ts).is_ok_and(|ts| ts > now_ms.saturating_add(MAX_AHEAD_MS));
        let late = too_early || ts < self.latest_ts.load(Ordering::Relaxed);
        if !late {
            self.latest_ts.store(ts, Ordering::Relaxed);
        }
        late
    }

    pub(crate) fn touch(&self, tick: u64) {
        self.used.store(tick, Ordering::Relaxed);
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the room's count of redactions. It changes with each redaction of an event that others show parts of,
    /// and is never reused, even if the room leaves memory. A holder of an event notes the count from
    /// before it was read, and uses the event only as long as the count is the same.
    pub fn redactions(&self) -> u64 {
        self.redactions.load(Ordering::SeqCst)
    }

    /// Notes a redaction of an event that others show parts of. Called after the commit, before memory shows the
    /// redaction.
    pub(crate) fn note_redaction(&self) {
        self.redactions.fetch_max(self.events.next_redactions(), Ordering::SeqCst);
    }

    /// Returns the event of a state entry, from memory or the database. An unreadable member event is returned as if it
    /// had been redacted.
    ///
    /// # Errors
    /// When the database fails, or another event cannot be read.
    pub async fn state_event(&self, entry: &StateEntry) -> Result<Arc<TimelineEvent>, DbError> {
        crate::model::stored_events::state_event(&self.db, &self.events, self.version, entry, self.redactions()).await
    }

    /// Returns the event of a state entry, if it is in memory.
    pub fn state_event_in_memory(&self, entry: &StateEntry) -> Option<Arc<TimelineEvent>> {
        entry.event(self.redactions())
    }

    /// Returns the event of a state entry; `None`, and a warning in the log, if it cannot be read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn readable_state_event(&self, entry: &StateEntry) -> Result<Option<Arc<TimelineEvent>>, DbError> {
        match self.state_event(entry).await {
            Err(error) if error.is_bad_data() => Ok(plexus_store::readable(Err(error))),
            read => read.map(Some),
        }
    }
}
