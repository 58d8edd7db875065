//! Deletes rooms that every user of this server has left and forgotten (`forgotten_room_retention_period`).
//!
//! Once a day [`ForgottenRooms`] schedules a task for each such room, which [`RoomPurge`] runs when the period is over.
//! It closes the room first, and deletes it an hour later: by then every join that began before has ended.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_base::Clock;
use plexus_protocol::json::Object;
use plexus_store::repo::room_purges::{self, Candidate, Purge};
use plexus_store::repo::{rooms, scheduled_tasks};
use plexus_store::{Database, DbError, RoomNid};

use self::rows::{delete_room_rows, event_count};
use crate::tasks::{NewTask, Recurrence, RunningTask, TaskHandler, TaskOutcome, TaskScheduler};

/// The kind of the tasks that look for rooms.
const SEARCH_KIND: &str = "schedule_room_purges";
/// The kind of the tasks that delete a room, as in Synapse.
const PURGE_KIND: &str = "purge_room";
/// The interval between two searches.
const SEARCH_INTERVAL: Duration = Duration::from_secs(86_400);
/// The most rooms that one search finds; the next one finds others.
const MAX_FOUND: u32 = 1_000;
/// How long a room is closed before it is deleted.
const SETTLING_PERIOD: Duration = Duration::from_secs(3_600);

/// Finds the rooms that every user of this server has left and forgotten.
pub struct ForgottenRooms {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
    retention: Option<Duration>,
}

/// Deletes rooms that nobody here is in.
pub struct RoomPurge {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
    /// Whether rooms are deleted. Otherwise only rooms of which something is deleted already are deleted.
    is_enabled: bool,
}

/// How far the deletion of a room is.
enum Stage {
    /// It has not begun.
    Open(RoomNid),
    /// Nobody can enter the room. At this revision, no user of this server wanted it.
    Closed { purge: Purge, revision: i64 },
    /// A user of this server entered the room while it was being closed.
    Wanted(RoomNid),
    /// The room's row is deleted; other rows may be left.
    Unknown(RoomNid),
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl ForgottenRooms {
    /// Creates the service. Rooms are kept for `retention` after they were forgotten; for ever when it is `None`.
    #[must_use]
    pub fn new(db: Database, clock: Clock, tasks: Arc<TaskScheduler>, retention: Option<Duration>) -> Self {
        Self { db, clock, tasks, retention }
    }

    /// Schedules the deletion of the rooms that are found; returns how many. The deletion of rooms that users have come
    /// back to is no longer scheduled.
    async fn search(&self) -> Result<usize, DbError> {
        let Some(retention) = self.retention else { return Ok(0) };
        self.unschedule_wanted().await?;
        let now_ms = self.clock.now_ms();
        let found = self.db.read(|tx| room_purges::candidates(tx, PURGE_KIND, MAX_FOUND)).await?;
        let count = found.len();
        if count > 0 {
            let tasks = Arc::clone(&self.tasks);
            let schedule = self.db.write(move |tx| {
                for Candidate { room_id, is_closed } in found {
                    let due_ms = if is_closed { now_ms } else { now_ms.saturating_add(millis(retention)) };
                    tasks.schedule(tx, purge_task(room_id, due_ms))?;
                }
                Ok::<_, DbError>(())
            });
            schedule.await?;
        }
        Ok(count)
    }

    async fn unschedule_wanted(&self) -> Result<(), DbError> {
        let wanted = self.db.read(|tx| room_purges::tasks_of_wanted(tx, PURGE_KIND, MAX_FOUND)).await?;
        if wanted.is_empty() {
            return Ok(());
        }
        let unschedule = self.db.write(move |tx| {
            for task_id in &wanted {
                scheduled_tasks::delete_scheduled(tx, task_id)?;
            }
            Ok::<_, DbError>(())
        });
        unschedule.await
    }
}

fn room_count(found: usize) -> Object {
    let mut result = Object::new();
    result.insert("found", i64::try_from(found).unwrap_or(i64::MAX));
    result
}

fn purge_task(room_id: String, due_ms: u64) -> NewTask {
    NewTask { kind: PURGE_KIND, due_ms, resource_id: Some(room_id), parameters: Object::new() }
}

impl TaskHandler for ForgottenRooms {
    fn kind(&self) -> &'static str {
        SEARCH_KIND
    }

    fn max_running(&self) -> u32 {
        1
    }

    fn recurrence(&self) -> Recurrence {
        self.retention.map_or(Recurrence::Disabled, |_| Recurrence::Every(SEARCH_INTERVAL))
    }

    fn run(&self, _task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            match self.search().await {
                Ok(found) => TaskOutcome::Complete(Some(room_count(found))),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}

impl RoomPurge {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, clock: Clock, tasks: Arc<TaskScheduler>, is_enabled: bool) -> Self {
        Self { db, clock, tasks, is_enabled }
    }

    /// Takes the room to its next stage. Returns the result of the task; `None` when it was stopped.
    async fn advance(&self, task: &mut RunningTask) -> Result<Option<Object>, DbError> {
        let Some(room_id) = task.resource_id.clone() else { return Ok(Some(Object::new())) };
        match self.stage(&room_id).await? {
            Some(Stage::Open(room)) if self.is_enabled => self.close(room, room_id).await?,
            Some(Stage::Open(_)) | None => {}
            Some(Stage::Closed { purge, revision }) if self.is_enabled => {
                let now_ms = self.clock.now_ms();
                let mut due_ms = purge.closed_ts.saturating_add(millis(SETTLING_PERIOD));
                if now_ms >= due_ms {
                    let room = purge.room_nid;
                    if self.db.write(move |tx| room_purges::delete_room(tx, room, revision)).await? {
                        return self.delete_rest(task, room, &room_id).await;
                    }
                    // Somebody changed the room just now: look again.
                    due_ms = now_ms.saturating_add(millis(SETTLING_PERIOD));
                }
                let tasks = Arc::clone(&self.tasks);
                self.db.write(move |tx| tasks.schedule(tx, purge_task(room_id, due_ms))).await?;
            }
            Some(Stage::Closed { purge: Purge { room_nid: room, .. }, .. } | Stage::Wanted(room)) => {
                self.db.write(move |tx| room_purges::end(tx, room)).await?;
            }
            Some(Stage::Unknown(room)) => return self.delete_rest(task, room, &room_id).await,
        }
        Ok(Some(Object::new()))
    }

    /// Returns `None` for a room that is unknown, or that a user of this server wants and that is not closed.
    async fn stage(&self, room_id: &str) -> Result<Option<Stage>, DbError> {
        let room_id = room_id.to_owned();
        let read = self.db.read(move |tx| {
            if let Some(purge) = room_purges::get(tx, &room_id)? {
                // First: a user who enters after this moves the revision.
                let Some(revision) = room_purges::revision(tx, purge.room_nid)? else {
                    return Ok(Some(Stage::Unknown(purge.room_nid)));
                };
                let is_wanted = room_purges::is_wanted(tx, purge.room_nid)?;
                let closed = if is_wanted { Stage::Wanted(purge.room_nid) } else { Stage::Closed { purge, revision } };
                return Ok(Some(closed));
            }
            let Some((room, _)) = rooms::number_and_version(tx, &room_id)? else { return Ok(None) };
            let is_wanted = room_purges::is_wanted(tx, room)?;
            Ok::<_, DbError>((!is_wanted).then_some(Stage::Open(room)))
        });
        read.await
    }

    async fn close(&self, room: RoomNid, room_id: String) -> Result<(), DbError> {
        let (tasks, now_ms) = (Arc::clone(&self.tasks), self.clock.now_ms());
        let close = self.db.write(move |tx| {
            room_purges::close(tx, room, &room_id, now_ms)?;
            tasks.schedule(tx, purge_task(room_id, now_ms + millis(SETTLING_PERIOD)))
        });
        close.await.map(drop)
    }

    async fn delete_rest(
        &self,
        task: &mut RunningTask,
        room: RoomNid,
        room_id: &str,
    ) -> Result<Option<Object>, DbError> {
        let Some(events) = delete_room_rows(&self.db, task, room, room_id).await? else { return Ok(None) };
        tracing::info!(room = room_id, events, "deleted a room that everybody here had left and forgotten");
        Ok(Some(event_count(events)))
    }
}

impl TaskHandler for RoomPurge {
    fn kind(&self) -> &'static str {
        PURGE_KIND
    }

    fn max_running(&self) -> u32 {
        1
    }

    fn run(&self, mut task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            match self.advance(&mut task).await {
                Ok(done) => TaskOutcome::Complete(done),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
