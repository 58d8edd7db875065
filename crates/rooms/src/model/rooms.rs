//! The rooms in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plexus_base::config::PrejoinStateEntry;
use plexus_base::{Clock, KeyedLocks};
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::{self, state_snapshots};
use plexus_store::{Database, DbError, RoomNid};
use tokio::sync::Notify;

use crate::model::accepted_invites::AcceptedInvites;
use crate::model::cache_size::CacheSize;
use crate::model::engine_memory::EngineMemory;
use crate::model::erased_users::ErasedUsers;
use crate::model::event_cache::EventCache;
use crate::model::index_progress::IndexProgress;
use crate::model::interner::Interner;
use crate::model::limits::LimitError;
use crate::model::load::{self, LoadedRoom};
use crate::model::loaded_rooms::LoadedRooms;
use crate::model::memberships::Memberships;
use crate::model::partial_state::StatePending;
use crate::model::profile_cache::ProfileCache;
use crate::model::room::{Room, SharedMemory};
use crate::model::room_view::RoomView;
use crate::model::state_map::{OWN_CONTENT_ONLY, StateEntry};
use crate::model::sticky_events::StickyEvents;
use crate::model::stored_events;
use crate::model::stored_tasks::StoredTasks;
use crate::model::summary_cache::SummaryCache;

/// The maximum time that a request waits for the rest of a room's state.
const FULL_STATE_TIMEOUT: Duration = Duration::from_secs(120);
/// The number of locks for loading rooms. Rooms with the same lock are loaded one after the other.
const LOAD_LOCKS: usize = 64;

/// All rooms. They are loaded when they are first used, and evicted if they take too much memory.
pub struct Rooms {
    /// The database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    pub(crate) server_name: ServerName,
    pub(crate) profiles: Arc<ProfileCache>,
    pub(crate) summaries: SummaryCache,
    pub(crate) stripped_state_types: Vec<PrejoinStateEntry>,
    pub(crate) memory: Arc<EngineMemory>,
    load_locks: KeyedLocks,
}

/// The settings and dependencies of [`Rooms`].
pub struct RoomsParts {
    /// The database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// This server.
    pub server_name: ServerName,
    /// See [`crate::RoomsOptions`].
    pub cache_bytes: usize,
    /// See [`crate::RoomsOptions`].
    pub stripped_state_types: Vec<PrejoinStateEntry>,
    /// See [`crate::RoomsOptions`].
    pub forget_on_leave: bool,
    /// See [`crate::RoomsOptions`].
    pub sticky_events: bool,
    /// See [`crate::RoomsOptions`].
    pub expiring_messages: bool,
    /// See [`crate::RoomsOptions`].
    pub accepted_invites: Option<AcceptedInvites>,
}

impl Rooms {
    /// Creates an empty registry, which follows the commits.
    pub fn new(deps: RoomsParts) -> Self {
        let RoomsParts { db, clock, server_name, cache_bytes, stripped_state_types, .. } = deps;
        let RoomsParts { forget_on_leave, sticky_events, expiring_messages, accepted_invites, .. } = deps;
        let events = Arc::new(EventCache::new(cache_bytes / 4));
        let memory = Arc::new(EngineMemory {
            server_name: server_name.clone(),
            rooms: LoadedRooms::new(Arc::clone(&events), cache_bytes),
            memberships: Memberships::new(db.clone()),
            interner: Interner::default(),
            events,
            erased: ErasedUsers::default(),
            sticky: StickyEvents::new(sticky_events, clock.clone()),
            directory: IndexProgress::default(),
            snapshots: Arc::new(state_snapshots::Recent::new(cache_bytes / 32)),
            forget_on_leave,
            expiring_messages,
            accepted_invites,
            tasks_stored: StoredTasks::default(),
            guest_access_ended: Notify::new(),
            local_user_entered: Notify::new(),
        });
        let profiles = Arc::new(ProfileCache::new(db.clone(), cache_bytes / 64));
        db.add_listener(&memory);
        db.add_listener(&profiles);
        Self {
            profiles,
            summaries: SummaryCache::new(),
            load_locks: KeyedLocks::new(LOAD_LOCKS),
            db,
            clock,
            server_name,
            stripped_state_types,
            memory,
        }
    }

    /// Waits until a user of this server has joined a room or knocked on one since the last call. For one caller.
    pub async fn local_user_entered(&self) {
        self.memory.local_user_entered.notified().await;
    }

    /// Waits until scheduled tasks were stored with events since the last call. Returns when the earliest of them is
    /// due, in Unix ms. For one caller.
    pub async fn tasks_stored(&self) -> u64 {
        self.memory.tasks_stored.next().await
    }

    /// Waits until a room's state is complete, or this server has left it.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn full_state(&self, room: &Room) -> Result<(), StatePending> {
        if self.full_state_within(room, FULL_STATE_TIMEOUT).await { Ok(()) } else { Err(StatePending) }
    }

    /// Waits as [`Self::full_state`], at most for `timeout`. Returns whether the state is complete.
    pub async fn full_state_within(&self, room: &Room, timeout: Duration) -> bool {
        tokio::select! {
            biased;
            () = room.full_state() => true,
            () = self.clock.sleep(timeout) => false,
        }
    }

    /// Removes rooms from memory that have not been used for `unused`, at the latest after twice that time. Does not
    /// return.
    pub async fn run_expiry(self: Arc<Self>, unused: Duration) {
        loop {
            let before = self.memory.rooms.uses();
            self.clock.sleep(unused).await;
            self.memory.rooms.remove_unused(before);
        }
    }

    /// Returns the room with an id; `None` if this server does not know it.
    ///
    /// # Errors
    /// When the database fails, or the room cannot be read.
    pub async fn get(&self, id: &RoomId) -> Result<Option<Arc<Room>>, DbError> {
        // A room that was deleted may have come back with another number.
        if let Some(nid) = self.memory.rooms.nid_of(id)
            && let Some(room) = self.get_nid(nid).await?
        {
            return Ok(Some(room));
        }
        let key = id.clone();
        let nid = self.db.read(move |tx| repo::rooms::by_id(tx, key.as_str())).await?.map(|row| row.room_nid);
        match nid {
            Some(nid) => self.get_nid(nid).await,
            None => Ok(None),
        }
    }

    /// Returns the room with a number.
    ///
    /// # Errors
    /// When the database fails, or the room cannot be read.
    pub async fn get_nid(&self, nid: RoomNid) -> Result<Option<Arc<Room>>, DbError> {
        if let Some(room) = self.loaded(nid).filter(|room| !room.is_outdated()) {
            return Ok(Some(room));
        }
        let _one_at_a_time = self.load_locks.lock(&nid).await;
        if let Some(room) = self.loaded(nid) {
            if !room.is_outdated() || self.update(&room).await? {
                return Ok(Some(room));
            }
            self.memory.rooms.remove(nid);
        }
        let loading = self.memory.rooms.start_loading(nid);
        let redactions = self.memory.events.redactions();
        let Some(loaded) = self.read(nid, redactions).await? else { return Ok(None) };
        let LoadedRoom { nid, id, version, revision, latest_ts, view } = loaded;
        let room = Arc::new(self.new_room((nid, id, version), (revision, redactions), view));
        room.latest_ts.store(latest_ts, Ordering::Relaxed);
        Ok(Some(loading.insert(&room)))
    }

    async fn read(&self, nid: RoomNid, redactions: u64) -> Result<Option<LoadedRoom>, DbError> {
        let server_name = self.server_name.clone();
        self.db.read(move |tx| load::room(tx, nid, server_name.as_str(), redactions)).await
    }

    /// Reads an outdated room again. Returns `false` if its version was corrected, so that it is another room.
    async fn update(&self, room: &Arc<Room>) -> Result<bool, DbError> {
        let doubts = room.doubts();
        let Some(loaded) = self.read(room.nid, room.redactions()).await? else { return Ok(false) };
        if loaded.version != room.version {
            return Ok(false);
        }
        let before = room.view();
        // First: events built on the view before are void, and the next writer reads the head from the database.
        room.epoch.fetch_add(1, Ordering::Release);
        room.latest_ts.fetch_max(loaded.latest_ts, Ordering::Relaxed);
        room.replace(loaded.revision, loaded.view);
        room.settle_doubts(doubts);
        self.memory.rooms.advanced(room, loaded.revision);
        let after = room.view();
        if before.is_partial() && (!after.is_partial() || after.local_joined.is_empty()) {
            room.state_completed.notify_waiters();
        }
        if before.guests_can_join && !after.guests_can_join {
            self.memory.guest_access_ended.notify_one();
        }
        Ok(true)
    }

    /// Returns the room with an id; `None`, and a warning in the log, if it cannot be read. For callers that handle
    /// several rooms, of which one must not block the others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_readable(&self, id: &RoomId) -> Result<Option<Arc<Room>>, DbError> {
        readable(id, self.get(id).await)
    }

    /// As [`Self::get_readable`], by number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_readable_nid(&self, nid: RoomNid) -> Result<Option<Arc<Room>>, DbError> {
        readable(nid, self.get_nid(nid).await)
    }

    /// Returns the number and the version of a room, even if its state cannot be read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn number_and_version(&self, id: &RoomId) -> Result<Option<(RoomNid, RoomVersion)>, DbError> {
        let key = id.clone();
        let found = self.db.read(move |tx| repo::rooms::number_and_version(tx, key.as_str())).await?;
        let Some((nid, version)) = found else { return Ok(None) };
        let version = version.parse();
        let version = version.map_err(|error| DbError::bad_data(format!("rooms, room_nid {nid}"), error))?;
        Ok(Some((nid, version)))
    }

    /// Returns why no user of this server can enter a room or be invited to it; `None` if the server allows it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn entry_refusal(&self, id: &RoomId) -> Result<Option<LimitError>, DbError> {
        let key = id.clone();
        let read = self.db.read(move |tx| {
            if repo::blocked_rooms::blocked_by(tx, key.as_str())?.is_some() {
                return Ok(Some(LimitError::RoomBlocked));
            }
            let purge = repo::room_purges::get(tx, key.as_str())?;
            Ok::<_, DbError>(purge.map(|_| LimitError::RoomPurged))
        });
        read.await
    }

    /// Returns the ids of rooms, in the order of their numbers, without loading the rooms.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ids(&self, nids: &[RoomNid]) -> Result<Vec<RoomId>, DbError> {
        let mut ids = BTreeMap::new();
        let mut missing = Vec::new();
        for &nid in nids {
            match self.loaded(nid) {
                Some(room) => _ = ids.insert(nid, room.id.clone()),
                None => missing.push(nid),
            }
        }
        if !missing.is_empty() {
            for (nid, id) in self.db.read(move |tx| repo::rooms::ids(tx, &missing)).await? {
                let id = RoomId::try_from(id);
                let id = id.map_err(|error| DbError::bad_data(format!("rooms, room_nid {nid}"), error));
                ids.extend(plexus_store::readable(id).map(|id| (nid, id)));
            }
        }
        Ok(ids.into_values().collect())
    }

    /// Creates a room as it was read, with the row's revision, and the count of redactions from before the reading.
    pub(crate) fn new_room(
        &self,
        identity: (RoomNid, RoomId, RoomVersion),
        (revision, redactions): (i64, u64),
        view: RoomView,
    ) -> Room {
        let shared = SharedMemory {
            events: Arc::clone(&self.memory.events),
            erased: self.memory.erased.clone(),
            sticky: self.memory.sticky.clone(),
        };
        Room::new(self.db.clone(), shared, identity, (revision, redactions), view)
    }

    /// Returns the event of a state entry as it federates, from memory or the database.
    pub(crate) async fn entry_pdu(&self, version: RoomVersion, entry: &StateEntry) -> Result<Pdu, DbError> {
        let cache = &self.memory.events;
        match entry.pdu_in_memory().or_else(|| cache.pdu(entry.nid)) {
            Some(pdu) => Ok(pdu),
            None => {
                Ok(stored_events::state_event(&self.db, cache, version, entry, OWN_CONTENT_ONLY).await?.pdu.clone())
            }
        }
    }

    /// Returns the event of a state entry as it federates; `None`, and a warning in the log, if it cannot be read.
    pub(crate) async fn readable_entry_pdu(
        &self,
        version: RoomVersion,
        entry: &StateEntry,
    ) -> Result<Option<Pdu>, DbError> {
        match self.entry_pdu(version, entry).await {
            Err(error) if error.is_bad_data() => Ok(plexus_store::readable(Err(error))),
            read => read.map(Some),
        }
    }

    /// Returns the room with a number, if it is in memory.
    #[must_use]
    pub fn loaded(&self, nid: RoomNid) -> Option<Arc<Room>> {
        self.memory.rooms.get(nid)
    }

    /// Returns the erased users.
    #[must_use]
    pub fn erased_users(&self) -> ErasedUsers {
        self.memory.erased.clone()
    }

    /// Returns the sticky events.
    #[must_use]
    pub fn sticky_events(&self) -> StickyEvents {
        self.memory.sticky.clone()
    }

    /// Returns the profiles of this server's users.
    #[must_use]
    pub fn profiles(&self) -> &ProfileCache {
        &self.profiles
    }

    /// Returns the memberships of users.
    #[must_use]
    pub fn memberships(&self) -> &Memberships {
        &self.memory.memberships
    }

    /// Returns the number of rooms in memory, and their approximate size in bytes.
    #[must_use]
    pub fn in_memory(&self) -> (usize, usize) {
        self.memory.rooms.size()
    }

    /// Returns the sizes of the caches.
    #[must_use]
    pub fn caches(&self) -> [CacheSize; 5] {
        let (entries, bytes) = self.in_memory();
        let rooms = CacheSize { name: "rooms", entries: entries as u64, bytes: bytes as u64 };
        let (entries, bytes) = self.memory.snapshots.size();
        let snapshots = CacheSize { name: "state_snapshots", entries, bytes };
        let (entries, bytes) = self.profiles.size();
        let profiles = CacheSize { name: "profiles", entries, bytes };
        [rooms, self.memory.events.size(), snapshots, profiles, self.summaries.size()]
    }

    /// Returns this server's name.
    #[must_use]
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }
}

fn readable(
    room: impl std::fmt::Display,
    read: Result<Option<Arc<Room>>, DbError>,
) -> Result<Option<Arc<Room>>, DbError> {
    match read {
        Err(error) if error.is_bad_data() => {
            tracing::warn!("room {room} is left out, as it cannot be read: {error}");
            Ok(None)
        }
        read => read,
    }
}
