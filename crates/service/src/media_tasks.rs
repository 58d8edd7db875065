//! The scheduled tasks of media: what storages have to store and to delete, what is deleted because nobody has
//! requested it for long, and previews of links that are not valid any more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_base::Clock;
use plexus_media::{FileTasks, MediaRetention, PreviewCleanup, PreviewTasks, Storages};
use plexus_protocol::json::Object;
use plexus_store::{Database, DbError, Tx};

use crate::tasks::{NewTask, Recurrence, RunningTask, TaskHandler, TaskOutcome, TaskScheduler};

/// The kind of the tasks that bring a storage up to date. The resource is the storage's name.
const STORAGE_KIND: &str = "media_storage";
/// The most storages that are brought up to date at the same time.
const MAX_STORAGES_AT_ONCE: u32 = 8;
/// The kind of the task that deletes media that nobody has requested for long.
const RETENTION_KIND: &str = "media_retention";
/// How often that is done.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3_600);

/// The kind of the task that deletes previews of links.
const PREVIEWS_KIND: &str = "url_preview_cleanup";
/// How often that is done while there are any.
const PREVIEWS_INTERVAL: Duration = Duration::from_secs(3_600);

/// Schedules the tasks that bring storages up to date.
pub struct StorageTasks {
    scheduler: Arc<TaskScheduler>,
}

impl StorageTasks {
    /// Creates the service.
    pub fn new(scheduler: Arc<TaskScheduler>) -> Self {
        Self { scheduler }
    }
}

impl FileTasks for StorageTasks {
    fn schedule(&self, tx: &mut Tx<'_>, storage: &str, due_ms: u64) -> Result<(), DbError> {
        let resource_id = Some(storage.to_owned());
        self.scheduler.ensure(tx, NewTask { kind: STORAGE_KIND, due_ms, resource_id, parameters: Object::new() })
    }
}

/// Brings storages up to date.
pub struct StorageTaskHandler {
    storages: Arc<Storages>,
    db: Database,
    tasks: Arc<StorageTasks>,
}

impl StorageTaskHandler {
    /// Creates the handler.
    pub fn new(storages: Arc<Storages>, db: Database, tasks: Arc<StorageTasks>) -> Self {
        Self { storages, db, tasks }
    }

    async fn bring_up_to_date(&self, storage: String) -> Result<(), DbError> {
        let Some(next_ms) = self.storages.run_queue(&storage).await? else { return Ok(()) };
        let tasks = Arc::clone(&self.tasks);
        self.db.write(move |tx| tasks.schedule(tx, &storage, next_ms)).await
    }
}

impl TaskHandler for StorageTaskHandler {
    fn kind(&self) -> &'static str {
        STORAGE_KIND
    }

    fn max_running(&self) -> u32 {
        MAX_STORAGES_AT_ONCE
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        let storage = task.resource_id.unwrap_or_default();
        Box::pin(async move {
            match self.bring_up_to_date(storage).await {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}

/// Deletes media that nobody has requested for long, every hour.
pub struct RetentionTaskHandler {
    retention: MediaRetention,
}

impl RetentionTaskHandler {
    /// Creates the handler.
    pub fn new(retention: MediaRetention) -> Self {
        Self { retention }
    }

    async fn apply(&self) -> Result<(), DbError> {
        let deleted = self.retention.apply().await?;
        if deleted > 0 {
            tracing::info!(deleted, "media that nobody has requested for long was deleted (media_retention)");
        }
        Ok(())
    }
}

impl TaskHandler for RetentionTaskHandler {
    fn kind(&self) -> &'static str {
        RETENTION_KIND
    }

    fn max_running(&self) -> u32 {
        1
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    fn recurrence(&self) -> Recurrence {
        if self.retention.is_enabled() { Recurrence::Every(RETENTION_INTERVAL) } else { Recurrence::Disabled }
    }

    fn run(&self, _task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            match self.apply().await {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}

/// Schedules the task that deletes previews of links.
pub struct PreviewCleanupTasks {
    clock: Clock,
    scheduler: Arc<TaskScheduler>,
}

impl PreviewCleanupTasks {
    /// Creates the service.
    pub fn new(clock: Clock, scheduler: Arc<TaskScheduler>) -> Self {
        Self { clock, scheduler }
    }
}

impl PreviewTasks for PreviewCleanupTasks {
    fn schedule_cleanup(&self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let due_ms = self.clock.now_ms() + PREVIEWS_INTERVAL.as_secs() * 1_000;
        let task = NewTask { kind: PREVIEWS_KIND, due_ms, resource_id: None, parameters: Object::new() };
        self.scheduler.schedule_if_none(tx, task)
    }
}

/// Deletes previews of links that are not valid any more, every hour while there are any.
pub struct PreviewCleanupHandler {
    cleanup: PreviewCleanup,
    db: Database,
    tasks: Arc<PreviewCleanupTasks>,
}

impl PreviewCleanupHandler {
    /// Creates the handler.
    pub fn new(cleanup: PreviewCleanup, db: Database, tasks: Arc<PreviewCleanupTasks>) -> Self {
        Self { cleanup, db, tasks }
    }

    async fn apply(&self) -> Result<(), DbError> {
        if !self.cleanup.apply().await? {
            return Ok(());
        }
        let tasks = Arc::clone(&self.tasks);
        self.db.write(move |tx| tasks.schedule_cleanup(tx)).await
    }
}

impl TaskHandler for PreviewCleanupHandler {
    fn kind(&self) -> &'static str {
        PREVIEWS_KIND
    }

    fn max_running(&self) -> u32 {
        1
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    fn run(&self, _task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            match self.apply().await {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
