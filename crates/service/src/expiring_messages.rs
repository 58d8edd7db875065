//! Messages that carry their own expiry (MSC2228): scheduled tasks delete their content.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_rooms::RoomWriter;
use plexus_rooms::write::{expiry, expiry_task};

use crate::tasks::{RunningTask, TaskHandler, TaskOutcome};

/// How many messages expire at the same time. Those of one room do one after the other.
const MAX_EXPIRING: u32 = 4;

/// Deletes the content of messages that have expired.
pub struct ExpiringMessages {
    writer: Arc<RoomWriter>,
}

impl ExpiringMessages {
    /// Creates the service.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>) -> Self {
        Self { writer }
    }
}

impl TaskHandler for ExpiringMessages {
    fn kind(&self) -> &'static str {
        expiry_task::EXPIRY_TASK
    }

    fn max_running(&self) -> u32 {
        MAX_EXPIRING
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    /// Never: the sender relies on the deletion, however long the database fails.
    fn gives_up(&self) -> bool {
        false
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            let room = task.resource_id.as_deref().unwrap_or_default();
            match expiry::expire(&self.writer, room, &task.parameters).await {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
