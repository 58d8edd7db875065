//! Deletes devices that were not used for a long time.

use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_accounts::Devices;
use plexus_base::Clock;
use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::devices::DeviceKey;

use crate::tasks::{Recurrence, RunningTask, TaskHandler, TaskOutcome};

const KIND: &str = "delete_stale_devices";
/// The interval between two runs, as in Synapse.
const DELETION_INTERVAL: Duration = Duration::from_secs(86_400);

/// Deletes unused devices, once a day, if `delete_stale_devices_after` is set.
pub struct UnusedDevices {
    clock: Clock,
    devices: Devices,
    /// Devices that were not used for this long are deleted.
    lifetime: Option<Duration>,
}

impl UnusedDevices {
    /// Creates the service.
    #[must_use]
    pub fn new(clock: Clock, devices: Devices, lifetime: Option<Duration>) -> Self {
        Self { clock, devices, lifetime }
    }

    /// Deletes the unused devices. Returns `None` when the task was stopped.
    async fn delete_all(&self, task: &mut RunningTask) -> Result<Option<Object>, DbError> {
        let Some(lifetime) = self.lifetime else { return Ok(Some(Object::new())) };
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

    fn recurrence(&self) -> Recurrence {
        self.lifetime.map_or(Recurrence::Disabled, |_| Recurrence::Every(DELETION_INTERVAL))
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
