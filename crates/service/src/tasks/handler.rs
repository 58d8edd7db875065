//! What a kind of task implements.

use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::scheduled_tasks;
use plexus_store::{Database, DbError, Tx};

/// How often a task is attempted before it has failed, if its kind gives up.
pub const MAX_ATTEMPTS: u32 = 8;

/// Runs the tasks of one kind.
pub trait TaskHandler: Send + Sync {
    /// Returns the name under which the database stores the tasks. It never changes.
    fn kind(&self) -> &'static str;

    /// Returns how many tasks of the kind run at the same time.
    fn max_running(&self) -> u32;

    /// Whether tasks are kept for a week after they have ended, for administrators. Otherwise they are deleted.
    fn keeps_ended(&self) -> bool {
        true
    }

    /// Whether a task has failed after [`MAX_ATTEMPTS`]. Otherwise it is attempted until it succeeds.
    fn gives_up(&self) -> bool {
        true
    }

    /// Returns when tasks of the kind are made.
    fn recurrence(&self) -> Recurrence {
        Recurrence::OnRequest
    }

    /// Records that a task has failed, in the transaction that ends it: `error` was that of its last attempt.
    ///
    /// # Errors
    /// When the database fails.
    fn failed(&self, _tx: &mut Tx<'_>, _task_id: &str, _error: &str) -> Result<(), DbError> {
        Ok(())
    }

    /// Called when the end of an attempt has been stored: the task does not run any more.
    fn attempt_ended(&self) {}

    /// Runs a task. The future may be dropped at any `await`: when the task is cancelled, and when the server stops. In
    /// the latter case the task runs again.
    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome>;
}

/// When tasks of a kind are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recurrence {
    /// When something schedules one.
    OnRequest,
    /// By the runner, one at a time. The next one is due this long after the last one began, however that ended; the
    /// first one, this long after the server has started.
    Every(Duration),
    /// Not at all: the option that asks for them is not set. One that was scheduled while it was is deleted.
    Disabled,
}

/// A task that runs.
#[derive(Clone)]
pub struct RunningTask {
    /// Its id.
    pub task_id: String,
    /// The room or user that it is about.
    pub resource_id: Option<String>,
    /// What it was made with.
    pub parameters: Object,
    /// What it has stored of its progress, in this run or in an earlier one.
    pub progress: Option<Object>,
    /// How many attempts have failed.
    pub failed_attempts: u32,
    pub(super) db: Database,
    pub(super) epoch: i64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskOutcome {
    /// The work is done.
    Complete(Option<Object>),
    /// The work cannot be done.
    Failed(String),
    /// The attempt failed; another one may succeed. After [`MAX_ATTEMPTS`] the task has failed, if its kind gives up.
    Retry(String),
    /// It is too early for the work: the task runs again after this time. Nothing has failed.
    Later(Duration),
}

/// The task is no longer this process's to run: it was cancelled, or another process has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task has been stopped")]
pub struct TaskStopped;

impl RunningTask {
    /// Whether the task has failed if this attempt fails.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.failed_attempts + 1 >= MAX_ATTEMPTS
    }

    /// Stores the progress, which the task has when it runs again.
    ///
    /// # Errors
    /// [`TaskStopped`] within `Ok` when nothing may be done any more; otherwise when the database fails.
    pub async fn store_progress(&mut self, progress: Object) -> Result<Result<(), TaskStopped>, DbError> {
        let (task_id, epoch) = (self.task_id.clone(), self.epoch);
        let json = Value::Object(progress.clone()).to_json();
        let stored = self.db.write(move |tx| scheduled_tasks::set_progress(tx, &task_id, epoch, &json)).await?;
        self.progress = Some(progress);
        Ok(if stored { Ok(()) } else { Err(TaskStopped) })
    }
}
