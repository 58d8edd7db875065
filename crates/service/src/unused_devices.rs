//! Deletes devices that were not used for a long time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_accounts::Devices;
use plexus_base::Clock;
use plexus_protocol::json::Object;
use plexus_store::repo::devices::DeviceKey;
use plexus_store::repo::scheduled_tasks;
use plexus_store::{Database, DbError, Tx};

use crate::tasks::{NewTask, RunningTask, TaskHandler, TaskOutcome, TaskScheduler};

const KIND: &str = "delete_stale_devices";
/// The interval between two runs, as in Synapse.
const DELETION_INTERVAL: Duration = Duration::from_secs(86_400);

/// Deletes unused devices, once a day, if `delete_stale_devices_after` is set.
pub struct UnusedDevices {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
    devices: Devices,
    /// Devices that were not used for this long are deleted.
    lifetime: Option<Duration>,
}

impl UnusedDevices {
    /// Creates the service.
    #[must_use]
    pub fn new(
        db: Database,
        clock: Clock,
        tasks: Arc<TaskScheduler>,
        devices: Devices,
        lifetime: Option<Duration>,
    ) -> Self {
        Self { db, clock, tasks, devices, lifetime }
    }

    /// Schedules the next run, or none if devices are kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedule(&self) -> Result<(), DbError> {
        if self.lifetime.is_none() {
            let is_scheduled = self.db.read(|tx| scheduled_tasks::is_any_scheduled(tx, KIND)).await?;
            if is_scheduled {
                self.db.write(|tx| scheduled_tasks::delete_scheduled_of_kind(tx, KIND)).await?;
            }
            return Ok(());
        }
        let (tasks, next) = (Arc::clone(&self.tasks), self.next_run());
        self.db.write(move |tx| tasks.schedule_if_none(tx, next)).await
    }

    fn next_run(&self) -> NewTask {
        let due_ms = self.clock.now_ms() + DELETION_INTERVAL.as_millis() as u64;
        NewTask { kind: KIND, due_ms, resource_id: None, parameters: Object::new() }
    }

    /// Schedules the next run, which comes however this one ends, and deletes the unused devices. Returns `None` when
    /// the task was stopped.
    async fn delete_all(&self, task: &mut RunningTask) -> Result<Option<Object>, DbError> {
        let Some(lifetime) = self.lifetime else { return Ok(Some(Object::new())) };
        self.schedule().await?;
        let before_ms = self.clock.now_ms().saturating_sub(lifetime.as_millis() as u64);
        let mut progress = task.progress.clone().unwrap_or_default();
        loop {
            let text = |name: &str| progress.get_str(name).unwrap_or_default().to_owned();
            let after = DeviceKey { user_id: text("user_id"), device_id: text("device_id") };
            let deleted = self.devices.delete_unused(before_ms, after).await?;
            let count = i64::try_from(deleted.count).unwrap_or(i64::MAX);
            let total = progress.get_i64("deleted").unwrap_or(0).saturating_add(count);
            progress = Object::new();
            progress.insert("deleted", total);
            let Some(next) = deleted.next else { break };
            progress.insert("user_id", next.user_id);
            progress.insert("device_id", next.device_id);
            if task.store_progress(progress.clone()).await?.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(progress))
    }
}

impl TaskHandler for UnusedDevices {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn max_running(&self) -> u32 {
        1
    }

    fn failed(&self, tx: &mut Tx<'_>, _task_id: &str, _error: &str) -> Result<(), DbError> {
        // It may not have come to schedule the next one.
        self.tasks.schedule_if_none(tx, self.next_run())
    }

    fn run(&self, mut task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            match self.delete_all(&mut task).await {
                Ok(done) => TaskOutcome::Complete(done),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
