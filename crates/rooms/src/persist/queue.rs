//! What waits for the persister, in the order in which it came.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plexus_base::Clock;
use plexus_store::{Backend, DbError, Position};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Append, PersistError};

/// How many requests may wait or be written; then writers wait.
const QUEUE: usize = 1_024;
/// How many requests go into one commit.
const BATCH: usize = 256;
/// On PostgreSQL, where a commit costs much and one more event in it little, a batch waits for others for this part of the
/// time that the commit before it took. On SQLite nothing is won by waiting.
const WAIT_SHARE: u32 = 4;
/// Never longer: the disk may have been slow for a moment.
const LONGEST_WAIT: Duration = Duration::from_millis(5);

/// The queue between the rooms' writers and the database.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    places: Arc<Semaphore>,
    /// Whether batches wait for others.
    patient: bool,
    /// Somebody has come, or the queue is closed.
    rung: Notify,
    /// All whom a batch waits for have come.
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
    /// Whether a batch waits for others.
    collecting: bool,
    /// How many will be waiting when those who were answered last have come back.
    expected: usize,
    /// Until when it is worth waiting for them, as [`Clock::monotonic`] counts.
    until: Duration,
}

/// One writer's events, and the writer.
pub(super) struct Request {
    pub append: Arc<Append>,
    /// It is to be written by itself, since a batch with it failed and nobody knows who was at fault.
    alone: bool,
    done: oneshot::Sender<Result<Position, PersistError>>,
    _place: OwnedSemaphorePermit,
}

/// What a writer waits for: the position of its last event.
pub(crate) type Committed = oneshot::Receiver<Result<Position, PersistError>>;

/// Room for one request in the queue.
pub(crate) struct Permit<'a> {
    queue: &'a Queue,
    place: OwnedSemaphorePermit,
}

impl Request {
    /// Tells the writer what came of it. A writer that has given up is no concern.
    pub fn answer(self, result: Result<Position, PersistError>) {
        let Self { append, done, .. } = self;
        // First, so that the room is no longer held when the writer goes on.
        drop(append);
        let _ = done.send(result);
    }
}

impl Permit<'_> {
    /// Queues the events. They are committed, or refused, also when nobody waits for the answer.
    pub fn send(self, append: Append) -> Committed {
        let (done, committed) = oneshot::channel();
        self.queue.push(Request { append: Arc::new(append), alone: false, done, _place: self.place });
        committed
    }
}

impl Queue {
    pub fn new(backend: Backend) -> Self {
        Self {
            patient: backend == Backend::Postgres,
            waiting: Mutex::default(),
            places: Arc::new(Semaphore::new(QUEUE)),
            rung: Notify::new(),
            arrived: Condvar::new(),
        }
    }

    /// Waits for room in the queue. What is sent with the permit cannot be lost by dropping the sender's future.
    pub async fn reserve(&self) -> Result<Permit<'_>, PersistError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| DbError::Closed)?;
        Ok(Permit { queue: self, place })
    }

    /// Waits until there is something to write; `false`: there never will be again.
    pub async fn wait(&self) -> bool {
        loop {
            {
                let waiting = self.lock();
                if !waiting.requests.is_empty() {
                    return true;
                }
                if waiting.closed {
                    return false;
                }
            }
            self.rung.notified().await;
        }
    }

    /// Takes the next batch, for which it waits a little when it is to be expected that more come: without that, ten
    /// writers who each wait for their answer are two groups of five that wait for each other's commits.
    pub fn take(&self, clock: &Clock) -> Vec<Request> {
        let mut waiting = self.lock();
        if waiting.requests.front().is_some_and(|first| first.alone) {
            return waiting.requests.pop_front().into_iter().collect();
        }
        let patience = waiting.until.saturating_sub(clock.monotonic());
        if !patience.is_zero() && waiting.is_short() {
            waiting.collecting = true;
            let waited = self.arrived.wait_timeout_while(waiting, patience, |waiting| waiting.is_short());
            (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
            waiting.collecting = false;
        }
        let together = waiting.requests.iter().take(BATCH).take_while(|request| !request.alone).count();
        waiting.requests.drain(..together).collect()
    }

    /// To be called after a commit: `answered` writers have their answers, `took` after they were taken from the queue.
    pub fn answered(&self, answered: usize, took: Duration, clock: &Clock) {
        if !self.patient {
            return;
        }
        let mut waiting = self.lock();
        waiting.expected = BATCH.min(answered + waiting.requests.len());
        waiting.until = clock.monotonic() + (took / WAIT_SHARE).min(LONGEST_WAIT);
    }

    /// Puts requests back, before all others and in their order.
    pub fn put_back(&self, requests: Vec<Request>, alone: bool) {
        let mut waiting = self.lock();
        for mut request in requests.into_iter().rev() {
            request.alone |= alone;
            waiting.requests.push_front(request);
        }
        drop(waiting);
        self.rung.notify_one();
    }

    /// Ends [`Queue::wait`] once everything is taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.rung.notify_one();
    }

    fn push(&self, request: Request) {
        let mut waiting = self.lock();
        waiting.requests.push_back(request);
        let complete = waiting.collecting && !waiting.is_short();
        drop(waiting);
        if complete {
            self.arrived.notify_one();
        }
        self.rung.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether fewer wait than are expected.
    fn is_short(&self) -> bool {
        self.requests.len() < self.expected
    }
}
