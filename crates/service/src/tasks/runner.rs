//! Running the tasks that are due.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use plexus_base::background::{catch_panic, panic_message};
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::scheduled_tasks::{self, AttemptEnd, ScheduledTask, TaskStatus};
use plexus_store::{Database, DbError, Tx};
use tokio::task::{Id, JoinError, JoinSet};

use super::handler::{MAX_ATTEMPTS, Recurrence, RunningTask, TaskHandler, TaskOutcome};
use super::scheduler::{NewTask, TaskScheduler};

/// How long to wait, in seconds, after each failed attempt. The last one is repeated for tasks that are never given up.
const RETRY_PAUSES_S: [u64; MAX_ATTEMPTS as usize - 1] = [1, 5, 30, 120, 600, 3_600, 14_400];
/// How long to wait before a statement is tried again that the database has failed.
const DATABASE_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The longest sleep: the time of day may be set meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// How long ended tasks are kept, as in Synapse.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How often those are deleted that were kept for so long, while there are tasks.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3_600);
/// The most tasks that one cleanup deletes.
const MAX_DELETED: u32 = 1_000;

/// Runs the tasks that are due. One process runs it.
pub struct TaskRunner {
    db: Database,
    clock: Clock,
    scheduler: Arc<TaskScheduler>,
    handlers: BTreeMap<&'static str, Arc<dyn TaskHandler>>,
}

/// The tasks that run, with their kinds.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    kinds: HashMap<Id, &'static str>,
}

impl TaskRunner {
    /// Creates the runner of these kinds of tasks.
    #[must_use]
    pub fn new(
        db: Database,
        clock: Clock,
        scheduler: Arc<TaskScheduler>,
        handlers: impl IntoIterator<Item = Arc<dyn TaskHandler>>,
    ) -> Self {
        let handlers = handlers.into_iter().map(|handler| (handler.kind(), handler)).collect();
        Self { db, clock, scheduler, handlers }
    }

    /// Schedules the first tasks of the kinds that recur, and deletes those of the kinds that no longer do. This comes
    /// before [`Self::run`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedule_recurring(&self) -> Result<(), DbError> {
        let kinds: Vec<_> = self.handlers.iter().map(|(kind, handler)| (*kind, handler.recurrence())).collect();
        let (scheduler, now_ms) = (Arc::clone(&self.scheduler), self.clock.now_ms());
        let schedule = self.db.write(move |tx| {
            for (kind, recurrence) in kinds {
                match recurrence {
                    Recurrence::OnRequest => {}
                    Recurrence::Every(interval) => schedule_next(tx, &scheduler, kind, now_ms, interval)?,
                    Recurrence::Disabled => scheduled_tasks::delete_scheduled_of_kind(tx, kind)?,
                }
            }
            Ok(())
        });
        schedule.await
    }

    /// Runs tasks, without end. When the future is dropped the tasks stop; they run again in the next process.
    pub async fn run(self) {
        self.log_unknown_kinds().await;
        let mut running = Running::default();
        let mut cleanup_at = Duration::ZERO;
        loop {
            if cleanup_at <= self.clock.monotonic() {
                cleanup_at = self.clock.monotonic() + CLEANUP_INTERVAL;
                self.delete_old().await;
            }
            let next_ms = match self.start_due(&mut running).await {
                Ok(next_ms) => next_ms,
                Err(DbError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, "scheduled tasks that are due could not be read");
                    Some(self.clock.now_ms() + DATABASE_RETRY_INTERVAL.as_millis() as u64)
                }
            };
            tokio::select! {
                () = self.scheduler.woken() => {}
                () = self.sleep_until(next_ms) => {}
                Some(ended) = running.tasks.join_next_with_id() => running.ended(ended),
            }
        }
    }

    /// Starts the tasks that are due, within the limits. Returns when the next one is due, in Unix ms.
    async fn start_due(&self, running: &mut Running) -> Result<Option<u64>, DbError> {
        loop {
            // Until it is known when the next one is due every new task is looked at.
            self.scheduler.set_next_wake(u64::MAX);
            let free = running.free(&self.handlers);
            let kinds: Vec<&'static str> = self.handlers.keys().copied().collect();
            let (epoch, now_ms) = (self.scheduler.epoch(), self.clock.now_ms());
            let taken = self.db.write(move |tx| {
                let taken = take_due(tx, &free, epoch, now_ms)?;
                Ok::<_, DbError>((taken, scheduled_tasks::next_due(tx, &kinds, now_ms)?))
            });
            let (taken, next_ms) = taken.await?;
            if taken.is_empty() {
                self.scheduler.set_next_wake(next_ms.unwrap_or(u64::MAX));
                return Ok(next_ms);
            }
            for task in taken {
                if let Some((kind, handler)) = self.handlers.get_key_value(task.kind.as_str()) {
                    running.start(kind, self.run_task(Arc::clone(handler), task));
                }
            }
        }
    }

    /// Runs one task, and stores how the attempt ended.
    fn run_task(&self, handler: Arc<dyn TaskHandler>, task: ScheduledTask) -> impl Future<Output = ()> + Send + use<> {
        let run =
            TaskRun { db: self.db.clone(), clock: self.clock.clone(), scheduler: Arc::clone(&self.scheduler), handler };
        async move {
            let began_ms = run.clock.now_ms();
            let stop = run.scheduler.started(&task.task_id);
            let outcome = tokio::select! {
                outcome = run.attempt(&task) => Some(outcome),
                () = stop.notified() => None,
            };
            run.scheduler.stopped(&task.task_id);
            run.store_end(&task, outcome, began_ms).await;
            run.handler.attempt_ended();
        }
    }

    /// Sleeps until a time of day; without end when there is none.
    async fn sleep_until(&self, at_ms: Option<u64>) {
        let Some(at_ms) = at_ms else { return std::future::pending().await };
        loop {
            let left = Duration::from_millis(at_ms.saturating_sub(self.clock.now_ms()));
            if left.is_zero() {
                return;
            }
            self.clock.sleep(left.min(MAX_SLEEP)).await;
        }
    }

    async fn log_unknown_kinds(&self) {
        match self.db.read(scheduled_tasks::unfinished_kinds).await {
            Ok(kinds) => {
                for (kind, count) in kinds.iter().filter(|(kind, _)| !self.handlers.contains_key(kind.as_str())) {
                    tracing::warn!(kind, count, "scheduled tasks of an unknown kind are left to another version");
                }
            }
            Err(error) => tracing::error!(%error, "the kinds of scheduled tasks could not be read"),
        }
    }

    async fn delete_old(&self) {
        let before = self.clock.now_ms().saturating_sub(RETENTION.as_millis() as u64);
        if let Err(error) = self.db.write(move |tx| scheduled_tasks::delete_ended(tx, before, MAX_DELETED)).await {
            tracing::warn!(%error, "old scheduled tasks could not be deleted");
        }
    }
}

/// Takes due tasks, at most as many of each kind as there are free places.
fn take_due(
    tx: &mut Tx<'_>,
    free: &[(&'static str, u32)],
    epoch: i64,
    now_ms: u64,
) -> Result<Vec<ScheduledTask>, DbError> {
    let mut taken = Vec::new();
    let mut resources = HashSet::new();
    for (kind, places) in free {
        let mut found = scheduled_tasks::left_active(tx, kind, epoch, *places)?;
        let rest = places.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        found.extend(scheduled_tasks::due(tx, kind, now_ms, rest)?);
        for task in found {
            let resource = task.resource_id.clone().map(|resource| (*kind, resource));
            let waits = resource.is_some_and(|resource| !resources.insert(resource));
            if !waits && scheduled_tasks::take(tx, &task.task_id, epoch, now_ms)? {
                taken.push(task);
            }
        }
    }
    Ok(taken)
}

impl Running {
    fn start(&mut self, kind: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.kinds.insert(id, kind);
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a bug: the end of a scheduled task was not stored");
                error.id()
            }
        };
        self.kinds.remove(&id);
    }

    /// Returns how many more tasks of each kind may run. There is no bound for all kinds together: no kind waits for
    /// another one.
    fn free(&self, handlers: &BTreeMap<&'static str, Arc<dyn TaskHandler>>) -> Vec<(&'static str, u32)> {
        let free = handlers.iter().map(|(kind, handler)| {
            let running = self.kinds.values().filter(|running| *running == kind).count();
            (*kind, handler.max_running().saturating_sub(u32::try_from(running).unwrap_or(u32::MAX)))
        });
        free.collect()
    }
}

/// The attempts of one task.
struct TaskRun {
    db: Database,
    clock: Clock,
    scheduler: Arc<TaskScheduler>,
    handler: Arc<dyn TaskHandler>,
}

impl TaskRun {
    async fn attempt(&self, task: &ScheduledTask) -> TaskOutcome {
        let progress = task.result.as_deref().map(object).transpose();
        let (parameters, progress) = match (object(&task.parameters), progress) {
            (Ok(parameters), Ok(progress)) => (parameters, progress),
            (Err(error), _) | (_, Err(error)) => return TaskOutcome::Failed(error),
        };
        let running = RunningTask {
            task_id: task.task_id.clone(),
            resource_id: task.resource_id.clone(),
            parameters,
            progress,
            failed_attempts: task.attempts,
            db: self.db.clone(),
            epoch: self.scheduler.epoch(),
        };
        catch_panic(self.handler.run(running)).await.unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            tracing::error!(task = task.task_id, kind = task.kind, "a bug: a scheduled task panicked: {message}");
            TaskOutcome::Retry(format!("it panicked: {message}"))
        })
    }

    /// Stores the outcome of an attempt that began at `began_ms`; `None`: it was interrupted because the task was
    /// cancelled.
    async fn store_end(&self, task: &ScheduledTask, outcome: Option<TaskOutcome>, began_ms: u64) {
        let now_ms = self.clock.now_ms();
        let end = outcome.map(|outcome| attempt_end(task, outcome, now_ms, self.handler.gives_up()));
        if let Some(AttemptEnd::Ended { error: Some(error), .. } | AttemptEnd::Repeated { error, .. }) = &end {
            tracing::warn!(task = task.task_id, kind = task.kind, error, "an attempt of a scheduled task failed");
        }
        let (handler, task_id, epoch) = (Arc::clone(&self.handler), task.task_id.clone(), self.scheduler.epoch());
        let scheduler = Arc::clone(&self.scheduler);
        write_until_stored(&self.db, &self.clock, move |tx| {
            let stored = match &end {
                // The transaction that cancelled it may have failed.
                None => scheduled_tasks::release(tx, &task_id, epoch, now_ms)?,
                Some(AttemptEnd::Ended { .. }) if !handler.keeps_ended() => {
                    scheduled_tasks::delete_active(tx, &task_id, epoch)?
                }
                Some(end) => scheduled_tasks::end_attempt(tx, &task_id, epoch, now_ms, end)?,
            };
            // One that is not stored was cancelled.
            let is_over = !stored || matches!(end, Some(AttemptEnd::Ended { .. }));
            if let (true, Recurrence::Every(interval)) = (is_over, handler.recurrence()) {
                schedule_next(tx, &scheduler, handler.kind(), began_ms, interval)?;
            }
            match &end {
                Some(AttemptEnd::Ended { status: TaskStatus::Failed, error: Some(error), .. }) if stored => {
                    handler.failed(tx, &task_id, error)
                }
                _ => Ok(()),
            }
        })
        .await;
    }
}

/// Schedules a task of a recurring kind, unless one is scheduled.
fn schedule_next(
    tx: &mut Tx<'_>,
    scheduler: &TaskScheduler,
    kind: &'static str,
    since_ms: u64,
    interval: Duration,
) -> Result<(), DbError> {
    let due_ms = since_ms.saturating_add(interval.as_millis() as u64);
    scheduler.schedule_if_none(tx, NewTask { kind, due_ms, resource_id: None, parameters: Object::new() })
}

/// Runs a transaction until it succeeds or the database is closed: an active task whose end is not stored would stay
/// active until the next start.
pub(crate) async fn write_until_stored(
    db: &Database,
    clock: &Clock,
    write: impl Fn(&mut Tx<'_>) -> Result<(), DbError> + Clone + Send + 'static,
) {
    loop {
        match db.write(write.clone()).await {
            Ok(()) | Err(DbError::Closed) => return,
            Err(error) => tracing::error!(%error, "the end of a scheduled task could not be stored"),
        }
        clock.sleep(DATABASE_RETRY_INTERVAL).await;
    }
}

fn attempt_end(task: &ScheduledTask, outcome: TaskOutcome, now_ms: u64, gives_up: bool) -> AttemptEnd {
    match outcome {
        TaskOutcome::Complete(result) => {
            let result = result.map(|result| Value::Object(result).to_json());
            AttemptEnd::Ended { status: TaskStatus::Complete, result, error: None }
        }
        TaskOutcome::Failed(error) => failed(error),
        TaskOutcome::Later(pause) => AttemptEnd::Postponed { due_ms: now_ms + pause.as_millis() as u64 },
        TaskOutcome::Retry(error) => {
            let repeated = RETRY_PAUSES_S.last().filter(|_| !gives_up);
            match RETRY_PAUSES_S.get(task.attempts as usize).or(repeated) {
                Some(pause_s) => AttemptEnd::Repeated { due_ms: now_ms + pause_s * 1_000, error },
                None => failed(error),
            }
        }
    }
}

fn failed(error: String) -> AttemptEnd {
    AttemptEnd::Ended { status: TaskStatus::Failed, result: None, error: Some(error) }
}

fn object(json: &str) -> Result<Object, String> {
    match Value::parse(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("not a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
