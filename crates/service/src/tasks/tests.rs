//! Tasks on every database, with a manual clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use plexus_base::{Clock, Random};
use plexus_protocol::json::Object;
use plexus_store::repo::scheduled_tasks::{self, ScheduledTask, TaskFilter, TaskStatus};
use plexus_store::{Database, DbError, Tx};
use plexus_testkit::{databases, within};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::{MAX_ATTEMPTS, NewTask, Recurrence, RunningTask, TaskHandler, TaskOutcome, TaskRunner, TaskScheduler};

mod recurring;

const KIND: &str = "test";
const START_MS: u64 = 1_000_000;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reports each run, and ends it as the test says.
struct Handler {
    max_running: u32,
    keeps_ended: bool,
    gives_up: AtomicBool,
    recurrence: Recurrence,
    runs: mpsc::UnboundedSender<RunningTask>,
    /// What the next runs return; those without one wait for `finish`.
    outcomes: Mutex<Vec<TaskOutcome>>,
    finish: Notify,
    /// The tasks that have failed, with their errors.
    failed: Mutex<Vec<(String, String)>>,
}

impl TaskHandler for Handler {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn max_running(&self) -> u32 {
        self.max_running
    }

    fn keeps_ended(&self) -> bool {
        self.keeps_ended
    }

    fn gives_up(&self) -> bool {
        self.gives_up.load(Ordering::SeqCst)
    }

    fn recurrence(&self) -> Recurrence {
        self.recurrence
    }

    fn failed(&self, _tx: &mut Tx<'_>, task_id: &str, error: &str) -> Result<(), DbError> {
        self.failed.lock().push((task_id.to_owned(), error.to_owned()));
        Ok(())
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            self.runs.send(task).unwrap();
            let outcome = self.outcomes.lock().pop();
            match outcome {
                Some(outcome) => outcome,
                None => {
                    self.finish.notified().await;
                    TaskOutcome::Complete(None)
                }
            }
        })
    }
}

/// A runner on a database.
struct Stage {
    db: Database,
    clock: Clock,
    scheduler: Arc<TaskScheduler>,
    handler: Arc<Handler>,
    runs: mpsc::UnboundedReceiver<RunningTask>,
    runner: JoinHandle<()>,
}

impl Stage {
    async fn start(db: &Database, clock: &Clock, max_running: u32) -> Self {
        Self::start_with(db, clock, (max_running, Recurrence::OnRequest), []).await
    }

    async fn start_recurring(db: &Database, clock: &Clock, recurrence: Recurrence) -> Self {
        Self::start_with(db, clock, (1, recurrence), []).await
    }

    async fn start_with(
        db: &Database,
        clock: &Clock,
        (max_running, recurrence): (u32, Recurrence),
        others: impl IntoIterator<Item = Arc<dyn TaskHandler>>,
    ) -> Self {
        let scheduler = TaskScheduler::start(db, clock.clone(), Random::seeded(clock.now_ms())).await.unwrap();
        let (sender, runs) = mpsc::unbounded_channel();
        let handler = Arc::new(Handler {
            max_running,
            keeps_ended: true,
            gives_up: AtomicBool::new(true),
            recurrence,
            runs: sender,
            outcomes: Mutex::default(),
            finish: Notify::new(),
            failed: Mutex::default(),
        });
        let handlers: Vec<_> = others.into_iter().chain([Arc::clone(&handler) as Arc<dyn TaskHandler>]).collect();
        let runner = TaskRunner::new(db.clone(), clock.clone(), Arc::clone(&scheduler), handlers);
        runner.schedule_recurring().await.unwrap();
        let runner = tokio::spawn(runner.run());
        Self { db: db.clone(), clock: clock.clone(), scheduler, handler, runs, runner }
    }

    async fn schedule(&self, after_ms: u64, resource_id: Option<&str>) -> String {
        let (scheduler, due_ms) = (Arc::clone(&self.scheduler), self.clock.now_ms() + after_ms);
        let resource_id = resource_id.map(str::to_owned);
        let mut parameters = Object::new();
        parameters.insert("after", after_ms);
        let task = NewTask { kind: KIND, due_ms, resource_id, parameters };
        self.db.write(move |tx| scheduler.schedule(tx, task)).await.unwrap()
    }

    /// The next run.
    async fn run(&mut self) -> RunningTask {
        within(TIMEOUT, self.runs.recv()).await.expect("a task runs").unwrap()
    }

    /// The task, once it has this status.
    async fn with_status(&self, task_id: &str, status: TaskStatus) -> ScheduledTask {
        let mut ticks = plexus_testkit::every(Duration::from_millis(2));
        let wait = async {
            loop {
                let id = task_id.to_owned();
                let task = self.db.read(move |tx| scheduled_tasks::get(tx, &id)).await.unwrap().unwrap();
                if task.status == status {
                    return task;
                }
                ticks.tick().await;
            }
        };
        within(TIMEOUT, wait).await.unwrap_or_else(|_| panic!("the task does not become {status:?}"))
    }

    /// Lets whatever is ready happen, and makes sure that nothing runs.
    async fn nothing_runs(&mut self) {
        // A write comes after everything that the runner has asked of the database.
        for _ in 0..3 {
            self.db.write(|_| Ok::<_, DbError>(())).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(self.runs.is_empty());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.runner.abort();
    }
}

#[tokio::test]
async fn a_task_runs_when_it_is_due_and_not_before() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 4).await;
        let later = stage.schedule(5_000, None).await;
        let sooner = stage.schedule(2_000, Some("!room:a")).await;
        clock.advance(Duration::from_millis(1_999));
        stage.nothing_runs().await;
        clock.advance(Duration::from_millis(1));
        let run = stage.run().await;
        assert_eq!((run.task_id, run.resource_id.as_deref()), (sooner.clone(), Some("!room:a")));
        assert_eq!(run.parameters.get_i64("after"), Some(2_000));
        stage.handler.finish.notify_one();
        let ended = stage.with_status(&sooner, TaskStatus::Complete).await;
        assert_eq!(ended.timestamp_ms, START_MS + 2_000);
        clock.advance(Duration::from_millis(3_000));
        assert_eq!(stage.run().await.task_id, later);
    }
}

#[tokio::test]
async fn a_task_exists_if_its_transaction_commits() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 4).await;
        let scheduler = Arc::clone(&stage.scheduler);
        let failed = db.write(move |tx| {
            let task = NewTask { kind: KIND, due_ms: 0, resource_id: None, parameters: Object::new() };
            scheduler.schedule(tx, task)?;
            Err::<(), _>(DbError::bad_data("a test", "the rest of the transaction fails"))
        });
        failed.await.unwrap_err();
        stage.nothing_runs().await;
        let stays = stage.schedule(0, None).await;
        assert_eq!(stage.run().await.task_id, stays);
    }
}

#[tokio::test]
async fn an_active_task_runs_again_after_a_crash_with_its_progress() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 4).await;
        let task = stage.schedule(0, Some("!room:a")).await;
        let mut run = stage.run().await;
        let mut progress = Object::new();
        progress.insert("done", 17);
        run.store_progress(progress.clone()).await.unwrap().unwrap();
        stage.runner.abort();

        let mut next = Stage::start(&db, &clock, 4).await;
        let again = next.run().await;
        assert_eq!((&again.task_id, &again.progress), (&task, &Some(progress.clone())));
        // Whoever had it before cannot change it any more.
        run.store_progress(Object::new()).await.unwrap().unwrap_err();
        next.handler.finish.notify_one();
        let ended = next.with_status(&task, TaskStatus::Complete).await;
        assert_eq!(ended.result.as_deref(), Some(r#"{"done":17}"#));
        run.store_progress(Object::new()).await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn limits_hold_and_tasks_about_one_resource_run_in_turn() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 2).await;
        let first = stage.schedule(1, Some("!one:a")).await;
        let second = stage.schedule(2, Some("!one:a")).await;
        let other = stage.schedule(3, Some("!other:a")).await;
        let third = stage.schedule(4, Some("!third:a")).await;
        clock.advance(Duration::from_millis(10));
        let running = [stage.run().await.task_id, stage.run().await.task_id];
        assert_eq!(running, [first.clone(), other.clone()]);
        stage.nothing_runs().await;
        stage.handler.finish.notify_one();
        stage.with_status(&first, TaskStatus::Complete).await;
        assert_eq!(stage.run().await.task_id, second);
        stage.nothing_runs().await;
        stage.handler.finish.notify_one();
        stage.with_status(&other, TaskStatus::Complete).await;
        assert_eq!(stage.run().await.task_id, third);
    }
}

/// A kind of which a thousand tasks may run.
struct Greedy;

impl TaskHandler for Greedy {
    fn kind(&self) -> &'static str {
        "a_greedy_kind"
    }

    fn max_running(&self) -> u32 {
        1_000
    }

    fn run(&self, _task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn no_kind_takes_the_places_of_others() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage =
            Stage::start_with(&db, &clock, (1, Recurrence::OnRequest), [Arc::new(Greedy) as Arc<dyn TaskHandler>])
                .await;
        let scheduler = Arc::clone(&stage.scheduler);
        db.write(move |tx| {
            let task = || NewTask { kind: Greedy.kind(), due_ms: 0, resource_id: None, parameters: Object::new() };
            (0..100).try_for_each(|_| scheduler.schedule(tx, task()).map(drop))
        })
        .await
        .unwrap();
        let own = stage.schedule(0, None).await;
        assert_eq!(stage.run().await.task_id, own);
    }
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_ever_later_and_at_last_not_at_all() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 2).await;
        let outcome = TaskOutcome::Retry("out of paper".to_owned());
        *stage.handler.outcomes.lock() = vec![outcome; MAX_ATTEMPTS as usize];
        let task = stage.schedule(0, None).await;
        let mut last_pause = 0;
        for attempt in 0..MAX_ATTEMPTS {
            let run = stage.run().await;
            assert_eq!((run.failed_attempts, run.is_last_attempt()), (attempt, attempt + 1 == MAX_ATTEMPTS));
            if run.is_last_attempt() {
                break;
            }
            let waiting = stage.with_status(&task, TaskStatus::Scheduled).await;
            assert_eq!(waiting.error.as_deref(), Some("out of paper"));
            let pause = waiting.timestamp_ms - clock.now_ms();
            assert!(pause > last_pause, "{pause} ms after {last_pause} ms");
            last_pause = pause;
            clock.advance(Duration::from_millis(pause - 1));
            stage.nothing_runs().await;
            clock.advance(Duration::from_millis(1));
        }
        let failed = stage.with_status(&task, TaskStatus::Failed).await;
        assert_eq!((failed.error.as_deref(), failed.attempts), (Some("out of paper"), MAX_ATTEMPTS - 1));
        assert_eq!(*stage.handler.failed.lock(), [(task, "out of paper".to_owned())]);
    }
}

#[tokio::test]
async fn a_task_of_a_kind_that_never_gives_up_is_attempted_until_it_succeeds() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 2).await;
        stage.handler.gives_up.store(false, Ordering::SeqCst);
        let failures = MAX_ATTEMPTS + 3;
        let mut outcomes = vec![TaskOutcome::Complete(None)];
        outcomes.extend(vec![TaskOutcome::Retry("out of paper".to_owned()); failures as usize]);
        *stage.handler.outcomes.lock() = outcomes;
        let task = stage.schedule(0, None).await;
        for attempt in 0..failures {
            assert_eq!(stage.run().await.failed_attempts, attempt);
            let waiting = stage.with_status(&task, TaskStatus::Scheduled).await;
            clock.advance(Duration::from_millis(waiting.timestamp_ms - clock.now_ms()));
        }
        assert_eq!(stage.run().await.failed_attempts, failures);
        stage.with_status(&task, TaskStatus::Complete).await;
        assert_eq!(*stage.handler.failed.lock(), []);
    }
}

#[tokio::test]
async fn a_task_with_an_id_is_made_once_also_after_it_has_ended() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 2).await;
        for _ in 0..2 {
            let scheduler = Arc::clone(&stage.scheduler);
            let task = NewTask { kind: KIND, due_ms: 0, resource_id: None, parameters: Object::new() };
            db.write(move |tx| scheduler.schedule_once(tx, "once", task)).await.unwrap();
        }
        stage.handler.finish.notify_one();
        assert_eq!(stage.run().await.task_id, "once");
        stage.with_status("once", TaskStatus::Complete).await;
        let scheduler = Arc::clone(&stage.scheduler);
        let task = NewTask { kind: KIND, due_ms: 0, resource_id: None, parameters: Object::new() };
        db.write(move |tx| scheduler.schedule_once(tx, "once", task)).await.unwrap();
        stage.nothing_runs().await;
    }
}

#[tokio::test]
async fn a_cancelled_task_stops_or_never_runs() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 1).await;
        let running = stage.schedule(0, None).await;
        let mut run = stage.run().await;
        let waiting = stage.schedule(1_000, None).await;
        for task in [running.clone(), waiting.clone()] {
            let scheduler = Arc::clone(&stage.scheduler);
            assert!(db.write(move |tx| scheduler.cancel(tx, &task)).await.unwrap());
        }
        run.store_progress(Object::new()).await.unwrap().unwrap_err();
        clock.advance(Duration::from_secs(10));
        // Its place is free, though its handler never ended by itself.
        let next = stage.schedule(0, None).await;
        assert_eq!(stage.run().await.task_id, next);
        for task in [&running, &waiting] {
            stage.with_status(task, TaskStatus::Cancelled).await;
        }
        let scheduler = Arc::clone(&stage.scheduler);
        assert!(!db.write(move |tx| scheduler.cancel(tx, &waiting)).await.unwrap(), "it was cancelled before");
    }
}

#[tokio::test]
async fn a_task_is_not_taken_while_another_about_the_resource_runs() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 4).await;
        let running = stage.schedule(0, Some("!room:a")).await;
        stage.run().await;
        let later = stage.schedule(60_000, Some("!room:a")).await;
        let take = async || {
            let (scheduler, later) = (Arc::clone(&stage.scheduler), later.clone());
            db.write(move |tx| scheduler.take(tx, &later)).await.unwrap()
        };
        assert!(!take().await);
        stage.handler.finish.notify_one();
        stage.with_status(&running, TaskStatus::Complete).await;
        assert!(take().await);
    }
}

#[tokio::test]
async fn tasks_of_unknown_kinds_are_left_alone() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 1).await;
        let scheduler = Arc::clone(&stage.scheduler);
        let task = NewTask { kind: "of_the_future", due_ms: 0, resource_id: None, parameters: Object::new() };
        let strange = db.write(move |tx| scheduler.schedule(tx, task)).await.unwrap();
        let own = stage.schedule(0, None).await;
        assert_eq!(stage.run().await.task_id, own);
        assert_eq!(stage.with_status(&strange, TaskStatus::Scheduled).await.attempts, 0);
    }
}

#[tokio::test]
async fn ended_tasks_are_listed_for_a_week() {
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start(&db, &clock, 1).await;
        let outcomes = vec![TaskOutcome::Failed("no".to_owned()), TaskOutcome::Complete(Some(Object::new()))];
        *stage.handler.outcomes.lock() = outcomes;
        let complete = stage.schedule(0, Some("@a:a")).await;
        stage.run().await;
        stage.with_status(&complete, TaskStatus::Complete).await;
        clock.advance(Duration::from_secs(1));
        let failed = stage.schedule(0, Some("@b:a")).await;
        stage.run().await;
        stage.with_status(&failed, TaskStatus::Failed).await;
        let listed = async |filter: TaskFilter| {
            let tasks = db.read(move |tx| scheduled_tasks::list(tx, &filter)).await.unwrap();
            tasks.into_iter().map(|task| task.task_id).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(listed(TaskFilter::default()).await, format!("{complete} {failed}"));
        let status = Some(TaskStatus::Failed);
        assert_eq!(listed(TaskFilter { status, ..TaskFilter::default() }).await, failed);
        let resource_id = Some("@a:a".to_owned());
        assert_eq!(listed(TaskFilter { resource_id, ..TaskFilter::default() }).await, complete);
        let kind = Some("another".to_owned());
        assert_eq!(listed(TaskFilter { kind, ..TaskFilter::default() }).await, "");
        let max_timestamp_ms = Some(START_MS + 999);
        assert_eq!(listed(TaskFilter { max_timestamp_ms, ..TaskFilter::default() }).await, complete);

        clock.advance(Duration::from_secs(7 * 24 * 3_600));
        let next = stage.schedule(0, None).await;
        stage.run().await;
        assert_eq!(listed(TaskFilter::default()).await, format!("{failed} {next}"));
    }
}
