//! What waits for the persister, in the order in which it came.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_store::{DbError, Position};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::write::error::PersistError;
use crate::write::pending::Append;

/// How many requests may wait or be written; then writers wait.
const QUEUE: usize = 1_024;
/// How many requests go into one commit.
const BATCH: usize = 256;

/// The queue between the rooms' writers and the database.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    places: Arc<Semaphore>,
    /// Somebody has come, or the queue is closed.
    rung: Notify,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
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
    pub(super) fn answer(self, result: Result<Position, PersistError>) {
        let Self { append, done, .. } = self;
        // First, so that the room is no longer held when the writer goes on.
        drop(append);
        let _ = done.send(result);
    }
}

impl Permit<'_> {
    /// Queues the events. They are committed, or refused, also when nobody waits for the answer.
    pub(crate) fn send(self, append: Append) -> Committed {
        let (done, committed) = oneshot::channel();
        self.queue.push(Request { append: Arc::new(append), alone: false, done, _place: self.place });
        committed
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), places: Arc::new(Semaphore::new(QUEUE)), rung: Notify::new() }
    }

    /// Waits for room in the queue. What is sent with the permit cannot be lost by dropping the sender's future.
    pub(super) async fn reserve(&self) -> Result<Permit<'_>, PersistError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| DbError::Closed)?;
        Ok(Permit { queue: self, place })
    }

    /// Waits until there is something to write; `false`: there never will be again.
    pub(super) async fn wait(&self) -> bool {
        loop {
            {
                let waiting = self.waiting.lock();
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

    /// Takes the next batch: what waits now. Nothing is won by waiting for more, not even where a commit costs much:
    /// while one batch is written, the next comes together.
    pub(super) fn take(&self) -> Vec<Request> {
        let mut waiting = self.waiting.lock();
        if waiting.requests.front().is_some_and(|first| first.alone) {
            return waiting.requests.pop_front().into_iter().collect();
        }
        let together = waiting.requests.iter().take(BATCH).take_while(|request| !request.alone).count();
        waiting.requests.drain(..together).collect()
    }

    /// Puts requests back, before all others and in their order.
    pub(super) fn put_back(&self, requests: Vec<Request>, alone: bool) {
        let mut waiting = self.waiting.lock();
        for mut request in requests.into_iter().rev() {
            request.alone |= alone;
            waiting.requests.push_front(request);
        }
        drop(waiting);
        self.rung.notify_one();
    }

    /// Ends [`Queue::wait`] once everything is taken.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.rung.notify_one();
    }

    fn push(&self, request: Request) {
        self.waiting.lock().requests.push_back(request);
        self.rung.notify_one();
    }
}
