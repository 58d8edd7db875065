//! A room in use, and the immutable view of it that readers hold.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::partial_joins::PartialJoin;
use plexus_store::{Database, DbError, EventNid, Position, RoomNid};
use tokio::sync::{Mutex, Notify};

use crate::model::auth_index::AuthIndex;
use crate::model::current_state::CurrentState;
use crate::model::erased_users::ErasedUsers;
use crate::model::event_cache::EventCache;
use crate::model::gaps::Gaps;
use crate::model::graph_tip::Tip;
use crate::model::head::Head;
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
    pub(crate) intake: Mutex<()>,
    /// Notified when somebody wants the state to be full, or a server of the room was heard of.
    pub wanted: Notify,
    /// Notified when the state is full.
    pub(crate) filled: Notify,
    view: ArcSwap<RoomView>,
    /// The row's revision as of the view.
    revision: AtomicI64,
    /// The newest revision that is known to be committed, when memory could not follow; the view may be newer.
    known_revision: AtomicI64,
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
            intake: Mutex::default(),
            wanted: Notify::new(),
            filled: Notify::new(),
            view: ArcSwap::from_pointee(view),
            revision: AtomicI64::new(revision),
            known_revision: AtomicI64::new(revision),
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

    /// The revision that has to be read, if memory lacks it.
    pub(crate) fn outdated(&self) -> Option<i64> {
        let known = self.known_revision.load(Ordering::Acquire);
        (known > self.revision()).then_some(known)
    }

    /// Ends the doubt about a revision that turned out not to exist, when the room was read.
    pub(crate) fn end_doubt(&self, doubted: i64) {
        let known = self.revision();
        // An error says that a newer one is known.
        let _ = self.known_revision.compare_exchange(doubted, known, Ordering::AcqRel, Ordering::Acquire);
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

/// A room at one moment; never changes. Derefs to its [`CurrentState`].
#[derive(Clone)]
pub struct RoomView {
    /// Position of the newest timeline event.
    pub position: Position,
    pub tip: Tip,
    /// The current state and what is derived from it.
    pub current: Arc<CurrentState>,
    /// The newest timeline events, newest last: every one with a position above `recent_after`.
    pub recent: Arc<[Arc<TimelineEvent>]>,
    /// See `recent`; 0 when `recent` reaches back to the room's first event.
    pub recent_after: Position,
    /// Position of the newest change of the current state that was not made by the event at that position but by state
    /// resolution, or by joining; 0 when there was none since `recent_after`.
    pub(crate) merged: Position,
    /// Where events are or were missing. `recent` does not reach back over the newest of them.
    pub gaps: Gaps,
    /// When the room's state was not told or stored as a whole as this server came into it.
    pub(crate) partial: Option<Arc<PartialJoin>>,
}

impl Deref for RoomView {
    type Target = CurrentState;

    fn deref(&self) -> &CurrentState {
        &self.current
    }
}

impl RoomView {
    /// Whether the current state has changed since a position otherwise than by the timeline's own events: state
    /// resolution has put another event in place, or taken one out.
    #[must_use]
    pub fn merged_since(&self, position: Position) -> bool {
        self.merged > position
    }

    /// Whether the room is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.state.get("m.room.encryption", "").is_some()
    }

    /// Whether part of the room's state is missing: member events, above all, that other servers have not told yet.
    /// Nothing of others is judged by it.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial.as_ref().is_some_and(|join| join.full_position.is_none())
    }

    /// Returns the position from which on clients see the room that this server is in; `None`: not yet. `lazily`: for
    /// clients that load members when they need them.
    #[must_use]
    pub fn shown_from(&self, lazily: bool) -> Option<Position> {
        match &self.partial {
            None => Some(0),
            Some(join) if lazily => join.told_position,
            Some(join) => join.full_position,
        }
    }

    /// Whether others are in the room and this server is not: what it knows of the room is old, or came with an invite.
    /// A room that its last local member has left, and nobody else is in, is still this server's to judge.
    #[must_use]
    pub fn is_out_of_band(&self) -> bool {
        self.local_joined.is_empty() && (self.tip.extremities.is_empty() || !self.servers.is_empty())
    }

    /// The forward extremities: what the next event names as `prev_events`.
    pub fn extremities(&self) -> impl Iterator<Item = &EventId> {
        self.tip.extremities.iter().map(|extremity| &extremity.event_id)
    }
}
