//! Forgets the addresses and user agents of clients.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_base::Clock;
use plexus_protocol::json::Object;
use plexus_store::repo::devices::{self, DeviceKey};
use plexus_store::repo::scheduled_tasks;
use plexus_store::{Database, DbError, Tx};

use crate::tasks::{NewTask, RunningTask, TaskHandler, TaskOutcome, TaskScheduler};

const KIND: &str = "forget_client_addresses";
/// The interval between two runs.
const FORGETTING_INTERVAL: Duration = Duration::from_secs(86_400);
/// How many devices are changed in one transaction.
const DEVICES_AT_ONCE: u32 = 500;

/// Forgets the addresses and user agents of devices that were not used for `user_ips_max_age`, once a day.
pub struct ClientAddresses {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
    /// How long they are kept; for ever if `None`.
    max_age: Option<Duration>,
}

impl ClientAddresses {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, clock: Clock, tasks: Arc<TaskScheduler>, max_age: Option<Duration>) -> Self {
        Self { db, clock, tasks, max_age }
    }

    /// Schedules the next run, or none if addresses are kept for ever.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedule(&self) -> Result<(), DbError> {
        if self.max_age.is_none() {
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
        let due_ms = self.clock.now_ms() + FORGETTING_INTERVAL.as_millis() as u64;
        NewTask { kind: KIND, due_ms, resource_id: None, parameters: Object::new() }
    }

    /// Schedules the next run, which comes however this one ends, and forgets what is too old.
    async fn forget(&self) -> Result<(), DbError> {
        let Some(max_age) = self.max_age else { return Ok(()) };
        self.schedule().await?;
        let before_ms = self.clock.now_ms().saturating_sub(max_age.as_millis() as u64);
        let mut after = DeviceKey::default();
        loop {
            let write = self.db.write(move |tx| devices::forget_addresses(tx, before_ms, &after, DEVICES_AT_ONCE));
            match write.await? {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }
}

impl TaskHandler for ClientAddresses {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn max_running(&self) -> u32 {
        1
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    fn failed(&self, tx: &mut Tx<'_>, _task_id: &str, _error: &str) -> Result<(), DbError> {
        // It may not have come to schedule the next one.
        self.tasks.schedule_if_none(tx, self.next_run())
    }

    fn run(&self, _task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            match self.forget().await {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
