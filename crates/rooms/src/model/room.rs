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
use crate::model::timeline_event::TimelineEvent;

/// How far ahead of our clock, in ms, an event may be without being late itself: those that follow it are, until our
/// clock has reached it.
const MAX_AHEAD_MS: u64 = 5 * 60_000;

/// A room in memory. One writer at a time changes it; readers take [`Room::view`]. Its view is owned by this process,
/// which follows the commits; its locks by the process that writes to the room.
pub struct Room {
    /// The number the database knows the room by.
    pub nid: RoomNid,
    /// The room's id.
    pub id: RoomId,
    /// The room's version.
    pub version: RoomVersion,
    pub db: Database,
    events: Arc<EventCache>,
    pub erased: ErasedUsers,
    pub(crate) head: Mutex<Head>,
    pub auth: Mutex<AuthIndex>,
    /// About how much memory `auth` takes.
    pub auth_bytes: AtomicUsize,
    /// Held while history is fetched from other servers. The gaps that nobody has filled, and until when they are not
    /// tried again, on a clock that does not jump.
    pub backfilling: Mutex<HashMap<EventNid, Duration>>,
    /// Held while this server comes into the room.
    pub entering: Mutex<()>,
    /// Held by an upgrade; the tombstone of the last one, if it succeeded.
    pub(crate) upgrading: Mutex<Option<EventNid>>,
    /// Held while events that may be stored already are looked up and written.
    pub(crate) adding: Mutex<()>,
    /// Notified when somebody wants the state to be full, or a server of the room was heard of.
    pub wanted: Notify,
    /// Notified when the state is full.
    pub(crate) filled: Notify,
    view: ArcSwap<RoomView>,
    /// The row's revision as of the view.
    revision: AtomicI64,
    /// The newest revision that is known to be committed, when memory could not follow; the view may be newer.
    known_revision: AtomicI64,
    /// The number of times that memory may have missed commits to the room.
    doubts: AtomicU64,
    /// The number of those after which the room has been read.
    settled_doubts: AtomicU64,
    /// Held while view and revision are replaced.
    replacing: parking_lot::Mutex<()>,
    /// At least the time of the newest live event that is not late. Only writers of events look at it.
    pub(crate) latest_ts: AtomicI64,
    /// See [`Room::redactions`].
    redactions: AtomicU64,
    /// Goes up when a commit has failed: what was built on it is void.
    pub(crate) epoch: AtomicU64,
    /// About how much memory the room takes.
    pub bytes: AtomicUsize,
    used: AtomicU64,
}

impl Room {
    pub fn new(
        db: Database,
        (events, erased): (Arc<EventCache>, ErasedUsers),
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
            head: Mutex::new(Head::of(&view, 0)),
            auth: Mutex::default(),
            auth_bytes: AtomicUsize::new(0),
            backfilling: Mutex::default(),
            entering: Mutex::default(),
            upgrading: Mutex::default(),
            adding: Mutex::default(),
            wanted: Notify::new(),
            filled: Notify::new(),
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

    /// The room as of the last commit that changed it. Replaced before that commit's position is published.
    #[must_use]
    pub fn view(&self) -> Arc<RoomView> {
        self.view.load_full()
    }

    /// Whether this is the cache that the room's state events are in.
    pub(crate) fn uses(&self, events: &Arc<EventCache>) -> bool {
        Arc::ptr_eq(&self.events, events)
    }

    /// The row's revision as of the view, or of an earlier one.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Takes the view to the next revision, which a commit has made. One that memory has already changes nothing; one
    /// before which others were missed only marks the room as out of date.
    pub(crate) fn advance(&self, revision: i64, view: impl FnOnce() -> RoomView) {
        let _replacing = self.replacing.lock();
        if self.revision() + 1 == revision {
            self.view.store(Arc::new(view()));
            self.revision.store(revision, Ordering::Release);
        } else {
            self.mark_outdated(revision);
        }
    }

    /// Takes the room over as it was read, unless memory has a newer one.
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

    /// Whether an event that goes into the timeline now is late ([`plexus_store::repo::events::near_time`]); if not, it
    /// is the latest. What is not committed in the end may make others late, nothing worse.
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

    /// The room's count of redactions: another one after each that changes what the room's events show of each other,
    /// also when the room has left memory in between. An event shows parts of others, so what keeps one in memory notes
    /// this count from before it was read, and uses the event only as long as the count stands.
    pub fn redactions(&self) -> u64 {
        self.redactions.load(Ordering::SeqCst)
    }

    /// An event has been redacted of which others show parts. To be called after the commit, before memory shows the
    /// redaction.
    pub(crate) fn note_redaction(&self) {
        self.redactions.fetch_max(self.events.next_redactions(), Ordering::SeqCst);
    }

    /// The event of a state entry, read from the database on a miss. A member event that cannot be read comes back as
    /// if it had been redacted.
    ///
    /// # Errors
    /// When the database fails, or another event cannot be read.
    pub async fn state_event(&self, entry: &StateEntry) -> Result<Arc<TimelineEvent>, DbError> {
        crate::model::stored_events::state_event(&self.db, &self.events, self.version, entry, self.redactions()).await
    }

    /// The event of a state entry, when it is in memory.
    pub fn state_event_in_memory(&self, entry: &StateEntry) -> Option<Arc<TimelineEvent>> {
        entry.event(self.redactions())
    }

    /// As [`Self::state_event`]; `None`, with a line in the log, when the event cannot be read.
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
