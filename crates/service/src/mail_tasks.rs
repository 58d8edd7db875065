//! The scheduled tasks of mail: one for each mail that waits.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_mail::{MailQueue, MailTasks};
use plexus_protocol::json::Object;
use plexus_store::{DbError, Tx};

use crate::tasks::{NewTask, RunningTask, TaskHandler, TaskOutcome, TaskScheduler};

/// The kind of the tasks that send a mail. The resource is the mail's id.
const KIND: &str = "mail";
/// The most mails that are sent at the same time, each over a connection of its own: servers permit few.
const MAX_SENT_AT_ONCE: u32 = 8;

/// Schedules the tasks that send mail.
pub struct MailTaskScheduler {
    scheduler: Arc<TaskScheduler>,
}

impl MailTaskScheduler {
    /// Creates the service.
    pub fn new(scheduler: Arc<TaskScheduler>) -> Self {
        Self { scheduler }
    }
}

impl MailTasks for MailTaskScheduler {
    fn schedule(&self, tx: &mut Tx<'_>, mail_id: &str, due_ms: u64) -> Result<(), DbError> {
        let resource_id = Some(mail_id.to_owned());
        let task = NewTask { kind: KIND, due_ms, resource_id, parameters: Object::new() };
        self.scheduler.schedule(tx, task).map(drop)
    }
}

/// Sends mail. Without a mail server in the configuration there is no such handler, and what waits stays.
pub struct MailTaskHandler {
    queue: Arc<MailQueue>,
}

impl MailTaskHandler {
    /// Creates the handler.
    pub fn new(queue: Arc<MailQueue>) -> Self {
        Self { queue }
    }
}

impl TaskHandler for MailTaskHandler {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn max_running(&self) -> u32 {
        MAX_SENT_AT_ONCE
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    fn gives_up(&self) -> bool {
        false
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        let mail_id = task.resource_id.unwrap_or_default();
        Box::pin(async move {
            match self.queue.deliver(&mail_id).await {
                Ok(None) => TaskOutcome::Complete(None),
                Ok(Some(wait)) => TaskOutcome::Later(wait),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
