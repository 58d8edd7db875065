//! Indexing what the log brings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::json::Object;
use plexus_rooms::IndexProgress;
use plexus_store::repo::search_sources::{self, Indexable};
use plexus_store::repo::{search_documents, search_progress};
use plexus_store::{Change, CommitListener, Database, DbError, EventNid, Position, RoomNid, Tx};

use crate::tasks::{NewTask, TaskScheduler};

/// The kind of the tasks that index what is older than the index.
pub(super) const BUILD_TASK: &str = "build_search_index";
/// The number of events that one transaction indexes: some milliseconds of the writer's time.
const EVENTS_PER_TRANSACTION: usize = 200;
const EVENTS_PER_READ: u32 = 200;
/// The number of rooms whose new events are read at a time.
const ROOMS_PER_READ: usize = 100;
/// The number of documents that one transaction removes.
const REMOVED_PER_TRANSACTION: u32 = 500;
/// The time for which changes are collected, so that one transaction indexes many. Searches end it early.
const INDEXING_DELAY: Duration = Duration::from_secs(1);
/// The time after which indexing is tried again when the database has failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The maximum number of changed rooms that are noted. If there are more, the database lists them.
const MAX_CHANGED_ROOMS: usize = 10_000;

/// Keeps the index of searchable texts. The whole server owns it: one process follows the log, from the position that
/// is stored with the index.
pub struct SearchIndex {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
    changed: Mutex<ChangedRooms>,
    progress: IndexProgress,
    /// Held from reading events to indexing them: what was read first is indexed first.
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// The rooms with events that are not indexed, with the first and the last position of these.
struct ChangedRooms {
    rooms: HashMap<RoomNid, (Position, Position)>,
    /// Whether there are others, which the database has to list.
    has_others: bool,
}

/// New events of a room: those with `after < position <= upto`.
#[derive(Clone, Copy)]
struct NewEvents {
    room: RoomNid,
    after: Position,
    upto: Position,
}

/// Stops keeping the index and removes it, some documents at a time.
///
/// # Errors
/// When the database fails.
pub async fn abandon(db: &Database) -> Result<(), DbError> {
    if db.read(search_progress::position).await?.is_some() {
        db.write(search_progress::abandon).await?;
    }
    clear(db).await
}

async fn clear(db: &Database) -> Result<(), DbError> {
    let remove = |tx: &mut Tx<'_>| search_documents::remove_some(tx, REMOVED_PER_TRANSACTION);
    while db.read(search_documents::has_any).await? && db.write(remove).await? > 0 {}
    Ok(())
}

impl SearchIndex {
    /// Creates the service, which follows the commits; [`Self::run`] has to run.
    #[must_use]
    pub fn new(db: Database, clock: Clock, tasks: Arc<TaskScheduler>) -> Arc<Self> {
        // What an earlier run of the program did not index.
        let changed = Mutex::new(ChangedRooms { rooms: HashMap::new(), has_others: true });
        let this = Arc::new(Self {
            db,
            clock,
            tasks,
            changed,
            progress: IndexProgress::default(),
            one_at_a_time: tokio::sync::Mutex::default(),
        });
        this.db.add_listener(&this);
        this
    }

    /// Begins to keep the index, unless it is kept already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare(&self) -> Result<(), DbError> {
        if self.db.read(search_progress::position).await?.is_none() {
            self.begin().await?;
        }
        Ok(())
    }

    /// Indexes changes. Does not return until the database is closed.
    pub async fn run(self: Arc<Self>) {
        let mut changes = self.progress.changes();
        loop {
            let seen = *changes.borrow_and_update();
            match self.follow().await {
                Ok(()) => {
                    self.progress.record_indexed(seen);
                    if changes.changed().await.is_err() {
                        return;
                    }
                    tokio::select! {
                        () = self.clock.sleep(INDEXING_DELAY) => {}
                        () = self.progress.requested() => {}
                    }
                }
                Err(DbError::Closed) => return,
                Err(error) => {
                    tracing::warn!("new messages are not found by searches: {error}");
                    self.changed.lock().has_others = true;
                    self.clock.sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// Waits until all present changes are indexed, at most for `timeout`.
    pub(super) async fn catch_up(&self, timeout: Duration) {
        self.progress.catch_up(&self.clock, timeout).await;
    }

    /// Indexes the changes so far.
    async fn follow(&self) -> Result<(), DbError> {
        let after = match self.db.read(search_progress::position).await? {
            Some(position) => position,
            None => self.begin().await?,
        };
        // First: whatever is at or before it has been noted.
        let upto = self.db.committed();
        let new = self.new_events(after, upto).await?;
        for some in new.chunks(ROOMS_PER_READ) {
            self.remember(some.iter().map(|new| new.room).collect()).await?;
            self.index_new(some.to_vec()).await?;
        }
        self.index_queued().await?;
        self.remove_forgotten().await?;
        if upto > after && !new.is_empty() {
            self.db.write(move |tx| search_progress::set_position(tx, upto)).await?;
        }
        Ok(())
    }

    /// Begins to keep the index. Older events are indexed by a task, if there are any. Returns the position after which
    /// the log is followed.
    async fn begin(&self) -> Result<Position, DbError> {
        clear(&self.db).await?;
        let after = self.db.committed();
        let (tasks, due_ms) = (Arc::clone(&self.tasks), self.clock.now_ms());
        self.db
            .write(move |tx| {
                search_progress::keep(tx, after)?;
                if search_sources::newest_event(tx)? == 0 {
                    return Ok(());
                }
                let task = NewTask { kind: BUILD_TASK, due_ms, resource_id: None, parameters: Object::new() };
                tasks.schedule(tx, task).map(drop)
            })
            .await?;
        Ok(after)
    }

    /// Takes the noted events up to a position.
    async fn new_events(&self, after: Position, upto: Position) -> Result<Vec<NewEvents>, DbError> {
        let (rooms, has_others) = {
            let mut changed = self.changed.lock();
            (std::mem::take(&mut changed.rooms), std::mem::take(&mut changed.has_others))
        };
        let mut new = Vec::with_capacity(rooms.len());
        for (room, (first, last)) in rooms {
            if last > upto {
                self.changed.lock().note(room, first.max(upto + 1));
                self.changed.lock().note(room, last);
            }
            if first <= upto && !has_others {
                new.push(NewEvents { room, after: first - 1, upto });
            }
        }
        if has_others {
            let rooms = self.db.read(move |tx| search_progress::rooms_after(tx, after)).await?;
            new.extend(rooms.into_iter().map(|room| NewEvents { room, after, upto }));
        }
        Ok(new)
    }

    async fn index_new(&self, mut rooms: Vec<NewEvents>) -> Result<(), DbError> {
        while !rooms.is_empty() {
            let read = self.db.read(move |tx| {
                let mut events: Vec<EventNid> = Vec::new();
                while let Some(new) = rooms.last_mut() {
                    let found = search_sources::newer(tx, new.room, new.after, new.upto, EVENTS_PER_READ)?;
                    events.extend(found.iter().map(|(_, event)| *event));
                    match found.last() {
                        Some((last, _)) if found.len() == EVENTS_PER_READ as usize => new.after = *last,
                        _ => _ = rooms.pop(),
                    }
                    if events.len() >= EVENTS_PER_TRANSACTION {
                        break;
                    }
                }
                Ok::<_, DbError>((rooms, events))
            });
            let events;
            (rooms, events) = read.await?;
            self.index(events).await?;
        }
        Ok(())
    }

    /// Indexes events, and those that they edit or redact.
    pub(super) async fn index(&self, events: Vec<EventNid>) -> Result<(), DbError> {
        for some in events.chunks(EVENTS_PER_TRANSACTION) {
            let some = some.to_vec();
            let _guard = self.one_at_a_time.lock().await;
            let found = self.db.read(move |tx| search_sources::indexable(tx, &some)).await?;
            let now_ms = self.clock.now_ms();
            let (mut documents, mut removed) = (Vec::new(), Vec::new());
            for indexable in found {
                match indexable {
                    Indexable::Document(document) => documents.push(document),
                    Indexable::Nothing(event) => removed.push(event),
                }
            }
            documents.sort_by_key(|document| (document.origin_server_ts, document.event_nid));
            let write = self.db.write(move |tx| {
                search_documents::remove(tx, &removed)?;
                search_documents::put(tx, &documents, now_ms)
            });
            write.await?;
        }
        Ok(())
    }

    /// Indexes events that were added to the past of rooms.
    async fn index_queued(&self) -> Result<(), DbError> {
        loop {
            let queued = self.db.read(move |tx| search_progress::queued(tx, EVENTS_PER_READ)).await?;
            if queued.is_empty() {
                return Ok(());
            }
            self.index(queued.clone()).await?;
            self.db.write(move |tx| search_progress::unqueue(tx, &queued)).await?;
        }
    }

    /// Removes rooms that all have forgotten.
    async fn remove_forgotten(&self) -> Result<(), DbError> {
        while let Some((room, is_remembered)) = self.db.read(search_progress::forgotten_room).await? {
            if is_remembered {
                self.db.write(move |tx| search_progress::remember_room(tx, room)).await?;
            } else {
                let remove =
                    move |tx: &mut Tx<'_>| search_progress::remove_forgotten(tx, room, REMOVED_PER_TRANSACTION);
                self.db.write(remove).await?;
            }
        }
        Ok(())
    }

    /// Has rooms indexed again that were removed, and that a user has come back to.
    async fn remember(&self, rooms: Vec<RoomNid>) -> Result<(), DbError> {
        for (room, id) in self.db.read(move |tx| search_progress::remembered_again(tx, &rooms)).await? {
            let (tasks, due_ms) = (Arc::clone(&self.tasks), self.clock.now_ms());
            self.db
                .write(move |tx| {
                    search_progress::remember_room(tx, room)?;
                    let task = NewTask { kind: BUILD_TASK, due_ms, resource_id: Some(id), parameters: Object::new() };
                    tasks.schedule(tx, task).map(drop)
                })
                .await?;
        }
        Ok(())
    }
}

impl ChangedRooms {
    fn note(&mut self, room: RoomNid, position: Position) {
        if self.rooms.len() >= MAX_CHANGED_ROOMS && !self.rooms.contains_key(&room) {
            self.has_others = true;
            return;
        }
        let (first, last) = self.rooms.entry(room).or_insert((position, position));
        *first = position.min(*first);
        *last = position.max(*last);
    }
}

impl CommitListener for SearchIndex {
    fn apply(&self, changes: &[Change]) {
        // Room: its past may have got events. A membership may have been forgotten at once.
        let matters = |change: &Change| {
            matches!(
                change,
                Change::Event { .. }
                    | Change::Room { .. }
                    | Change::Membership { .. }
                    | Change::Forgotten { .. }
                    | Change::Missed { .. }
            )
        };
        if !changes.iter().any(matters) {
            return;
        }
        let mut changed = self.changed.lock();
        for change in changes {
            match change {
                Change::Event { room, position, .. } => changed.note(*room, *position),
                Change::Missed { .. } => changed.has_others = true,
                _ => {}
            }
        }
        drop(changed);
        self.progress.record_change();
    }
}
