//! Making, moving and cancelling tasks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plexus_base::{Clock, Random};
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::scheduled_tasks::{self, ScheduledTask, TaskStatus};
use plexus_store::{Database, DbError, Tx};
use tokio::sync::Notify;

/// The length of a task's id, in letters and digits: as hard to guess as an access token.
const TASK_ID_CHARS: usize = 24;

/// Makes, moves and cancels tasks. The tasks that are due belong to the whole server: one process takes them, in an
/// epoch of its own. Another one would send it a message on the bus about each task that it makes.
pub struct TaskScheduler {
    clock: Clock,
    random: Random,
    epoch: i64,
    /// When the runner looks for due tasks by itself, in Unix ms.
    next_wake_ms: AtomicU64,
    wake: Notify,
    /// The tasks that run, each with what stops it.
    running: Mutex<HashMap<String, Arc<Notify>>>,
}

/// A task to be made.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The kind: that of a handler.
    pub kind: &'static str,
    /// When it is due, in Unix ms.
    pub due_ms: u64,
    /// The room or user that it is about.
    pub resource_id: Option<String>,
    /// What its handler gets.
    pub parameters: Object,
}

impl TaskScheduler {
    /// Creates the scheduler, in a new epoch: what an earlier process has taken is this one's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(db: &Database, clock: Clock, random: Random) -> Result<Arc<Self>, DbError> {
        Ok(Arc::new(Self {
            clock,
            random,
            epoch: db.write(scheduled_tasks::begin_epoch).await?,
            next_wake_ms: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            running: Mutex::default(),
        }))
    }

    /// Makes a task; returns its id. The task exists if the transaction commits.
    ///
    /// # Errors
    /// When the database fails.
    pub fn schedule(&self, tx: &mut Tx<'_>, task: NewTask) -> Result<String, DbError> {
        let task_id = self.random.alphanumeric(TASK_ID_CHARS);
        self.insert(tx, &task_id, task)?;
        Ok(task_id)
    }

    /// Makes a task unless there is one with this id: one that has ended counts while it is kept.
    ///
    /// # Errors
    /// When the database fails.
    pub fn schedule_once(&self, tx: &mut Tx<'_>, task_id: &str, task: NewTask) -> Result<(), DbError> {
        if scheduled_tasks::get(tx, task_id)?.is_none() {
            self.insert(tx, task_id, task)?;
        }
        Ok(())
    }

    fn insert(&self, tx: &mut Tx<'_>, task_id: &str, task: NewTask) -> Result<(), DbError> {
        let row = ScheduledTask {
            task_id: task_id.to_owned(),
            kind: task.kind.to_owned(),
            status: TaskStatus::Scheduled,
            timestamp_ms: task.due_ms,
            resource_id: task.resource_id,
            parameters: Value::Object(task.parameters).to_json(),
            result: None,
            error: None,
            attempts: 0,
        };
        scheduled_tasks::insert(tx, &row)?;
        self.wake_runner_by(task.due_ms);
        Ok(())
    }

    /// Makes a task unless one of its kind is scheduled.
    ///
    /// # Errors
    /// When the database fails.
    pub fn schedule_if_none(&self, tx: &mut Tx<'_>, task: NewTask) -> Result<(), DbError> {
        if !scheduled_tasks::is_any_scheduled(tx, task.kind)? {
            self.schedule(tx, task)?;
        }
        Ok(())
    }

    /// Makes a task, unless one of its kind about the same resource is scheduled: that is due at the earlier of both
    /// times then. One that runs does not count.
    ///
    /// # Errors
    /// When the database fails.
    pub fn ensure(&self, tx: &mut Tx<'_>, task: NewTask) -> Result<(), DbError> {
        let scheduled = scheduled_tasks::find_scheduled(tx, task.kind, task.resource_id.as_deref())?;
        match scheduled {
            None => self.schedule(tx, task).map(drop),
            Some((_, due_ms)) if due_ms <= task.due_ms => Ok(()),
            Some((task_id, _)) => self.reschedule(tx, &task_id, task.due_ms).map(drop),
        }
    }

    /// Changes when a scheduled task is due. Returns `false` when it is not scheduled (any more).
    ///
    /// # Errors
    /// When the database fails.
    pub fn reschedule(&self, tx: &mut Tx<'_>, task_id: &str, due_ms: u64) -> Result<bool, DbError> {
        let changed = scheduled_tasks::reschedule(tx, task_id, due_ms)?;
        self.wake_runner_by(due_ms);
        Ok(changed)
    }

    /// Cancels a task that is scheduled or runs. Returns `false` when there is no such task.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cancel(&self, tx: &mut Tx<'_>, task_id: &str) -> Result<bool, DbError> {
        let cancelled = scheduled_tasks::cancel(tx, task_id, self.clock.now_ms())?;
        // It looks at its row then, after this transaction: should that fail, it goes on.
        if let Some(stop) = self.running.lock().get(task_id) {
            stop.notify_one();
        }
        Ok(cancelled)
    }

    /// Deletes a scheduled task. Returns `false` when it is not scheduled (any more).
    ///
    /// # Errors
    /// When the database fails.
    pub fn withdraw(&self, tx: &mut Tx<'_>, task_id: &str) -> Result<bool, DbError> {
        scheduled_tasks::delete_scheduled(tx, task_id)
    }

    /// Takes a scheduled task before it is due: the caller does its work, and ends it by [`Self::delete_taken`] or
    /// [`Self::release`]; the task's handler does, if this process ends before. Returns `false` when it is not
    /// scheduled (any more), and while another task of its kind about the same resource runs.
    ///
    /// # Errors
    /// When the database fails.
    pub fn take(&self, tx: &mut Tx<'_>, task_id: &str) -> Result<bool, DbError> {
        scheduled_tasks::take(tx, task_id, self.epoch, self.clock.now_ms())
    }

    /// Deletes a task that was taken.
    ///
    /// # Errors
    /// When the database fails.
    pub fn delete_taken(&self, tx: &mut Tx<'_>, task_id: &str) -> Result<(), DbError> {
        scheduled_tasks::delete_active(tx, task_id, self.epoch)?;
        self.wake.notify_one();
        Ok(())
    }

    /// Returns a task that was taken to the scheduled ones.
    ///
    /// # Errors
    /// When the database fails.
    pub fn release(&self, tx: &mut Tx<'_>, task_id: &str, due_ms: u64) -> Result<(), DbError> {
        scheduled_tasks::release(tx, task_id, self.epoch, due_ms)?;
        self.wake.notify_one();
        Ok(())
    }

    /// Returns this process's epoch.
    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Makes the runner look for due tasks unless it does so by `due_ms` anyway. It looks in a transaction of its own,
    /// which comes after the one that calls this.
    pub fn wake_runner_by(&self, due_ms: u64) {
        if due_ms < self.next_wake_ms.load(Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Records when the runner looks by itself.
    pub(super) fn set_next_wake(&self, at_ms: u64) {
        self.next_wake_ms.store(at_ms, Ordering::SeqCst);
    }

    /// Waits until there may be due tasks before the time that was recorded.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Records a task that runs; returns what is notified when it is cancelled.
    pub(super) fn started(&self, task_id: &str) -> Arc<Notify> {
        let stop = Arc::new(Notify::new());
        self.running.lock().insert(task_id.to_owned(), Arc::clone(&stop));
        stop
    }

    /// Records that a task does not run any more.
    pub(super) fn stopped(&self, task_id: &str) {
        self.running.lock().remove(task_id);
    }
}
