//! Forgets the addresses and user agents of clients.

use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_base::Clock;
use plexus_store::repo::devices::{self, DeviceKey};
use plexus_store::{Database, DbError};

use crate::tasks::{Recurrence, RunningTask, TaskHandler, TaskOutcome};

const KIND: &str = "forget_client_addresses";
/// The interval between two runs.
const FORGETTING_INTERVAL: Duration = Duration::from_secs(86_400);
/// How many devices are changed in one transaction.
const DEVICES_AT_ONCE: u32 = 500;

/// Forgets the addresses and user agents of devices that were not used for `user_ips_max_age`, once a day.
pub struct ClientAddresses {
    db: Database,
    clock: Clock,
    /// How long they are kept; for ever if `None`.
    max_age: Option<Duration>,
}

impl ClientAddresses {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, clock: Clock, max_age: Option<Duration>) -> Self {
        Self { db, clock, max_age }
    }

    /// Forgets what is too old.
    async fn forget(&self) -> Result<(), DbError> {
        let Some(max_age) = self.max_age else { return Ok(()) };
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

    fn recurrence(&self) -> Recurrence {
        self.max_age.map_or(Recurrence::Disabled, |_| Recurrence::Every(FORGETTING_INTERVAL))
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
