//! Supervised background work: every task has a name, its panics are logged, and a shutdown waits for it.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

/// The background tasks of one server. Clones share the tasks.
///
/// Connections and the database's writer are not among them: their owners wait for their end.
#[derive(Clone, Default)]
pub struct Background(Arc<Tasks>);

#[derive(Default)]
struct Tasks {
    running: Mutex<Running>,
    ended: Notify,
}

#[derive(Default)]
struct Running {
    last_id: u64,
    tasks: BTreeMap<u64, Task>,
    phase: Phase,
}

struct Task {
    name: &'static str,
    is_abortable: bool,
    /// `None` until it has been spawned.
    handle: Option<AbortHandle>,
}

/// Which tasks are aborted, including tasks that are spawned later.
#[derive(Clone, Copy, Default)]
enum Phase {
    #[default]
    None,
    Abortable,
    All,
}

/// How long a shutdown waits for tasks that it has aborted: a task that never yields does not end.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// A task's future, followed by the guard that removes the task from the list: a task that is aborted before it is
/// polled drops them in this order, so everything that the future owns is dropped before the task leaves the list.
struct Work<F> {
    future: F,
    registered: Registered,
}

/// Removes a task from the list when it ends in any way.
struct Registered {
    tasks: Arc<Tasks>,
    id: u64,
}

/// Aborts the tasks of a [`Background`] when it is dropped.
pub struct AbortOnDrop(Background);

impl Background {
    /// Runs work that has to be completed once it has begun: [`Self::shutdown`] waits for it.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.register(Task { name, is_abortable: false, handle: None }, future)
    }

    /// Runs work that may stop at any `await`, because it has no end or is resumed after a restart:
    /// [`Self::shutdown`] aborts it.
    pub fn spawn_abortable<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.register(Task { name, is_abortable: true, handle: None }, future)
    }

    fn register<T: Send + 'static>(
        &self,
        task: Task,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let name = task.name;
        let id = self.0.running.lock().add(task);
        let work = Work { future, registered: Registered { tasks: Arc::clone(&self.0), id } };
        // Not under the lock: a runtime that has ended drops the task immediately.
        let spawned = tokio::spawn(work.run(name));
        let mut running = self.0.running.lock();
        let phase = running.phase;
        if let Some(task) = running.tasks.get_mut(&id) {
            task.handle = Some(spawned.abort_handle());
            task.abort_in(phase);
        }
        spawned
    }

    /// Returns the names of the tasks that have not ended, the oldest first.
    pub fn running(&self) -> Vec<&'static str> {
        self.0.running.lock().tasks.values().map(|task| task.name).collect()
    }

    /// Aborts the abortable tasks and waits until all others have ended. Tasks that still run after `patience` are
    /// logged and aborted too; those that do not end even then are logged and left.
    #[expect(clippy::disallowed_methods, reason = "the process ends in real time")]
    pub async fn shutdown(&self, patience: Duration) {
        self.enter(Phase::Abortable);
        if tokio::time::timeout(patience, self.all_ended()).await.is_err() {
            tracing::warn!(
                "background tasks did not end within {} s: {}",
                patience.as_secs(),
                self.running().join(", ")
            );
            self.enter(Phase::All);
            if tokio::time::timeout(ABORT_TIMEOUT, self.all_ended()).await.is_err() {
                tracing::warn!("aborted background tasks did not end: {}", self.running().join(", "));
            }
        }
    }

    /// Returns a value that aborts every task when it is dropped: for a server that is dropped without a shutdown.
    #[must_use]
    pub fn abort_on_drop(&self) -> AbortOnDrop {
        AbortOnDrop(self.clone())
    }

    fn enter(&self, phase: Phase) {
        let mut running = self.0.running.lock();
        running.phase = phase;
        running.tasks.values().for_each(|task| task.abort_in(phase));
    }

    async fn all_ended(&self) {
        loop {
            let mut ended = pin!(self.0.ended.notified());
            ended.as_mut().enable();
            if self.0.running.lock().tasks.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

impl<F: Future> Work<F> {
    async fn run(self, name: &'static str) -> F::Output {
        let Self { future, registered: _registered } = self;
        with_logged_panic(name, future).await
    }
}

impl Running {
    fn add(&mut self, task: Task) -> u64 {
        self.last_id += 1;
        self.tasks.insert(self.last_id, task);
        self.last_id
    }
}

impl Task {
    fn abort_in(&self, phase: Phase) {
        let aborts = match phase {
            Phase::None => false,
            Phase::Abortable => self.is_abortable,
            Phase::All => true,
        };
        if let Some(handle) = self.handle.as_ref().filter(|_| aborts) {
            handle.abort();
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.enter(Phase::All);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.tasks.running.lock().tasks.remove(&self.id);
        self.tasks.ended.notify_waiters();
    }
}

/// Logs a panic of the future with the task's name and resumes it for the awaiter of the task.
async fn with_logged_panic<T>(name: &'static str, future: impl Future<Output = T>) -> T {
    catch_panic(future).await.unwrap_or_else(|panic| {
        tracing::error!("a bug: the background task {name:?} panicked: {}", panic_message(&*panic));
        resume_unwind(panic)
    })
}

/// Runs a future to completion.
///
/// # Errors
/// The payload of its panic.
pub async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Returns the text of a panic.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests;
