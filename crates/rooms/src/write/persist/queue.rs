//! The queue of the persister.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_store::{DbError, Position};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::write::error::PersistError;
use crate::write::pending::Append;

/// The maximum number of requests in the queue and being written. Beyond it, writers wait.
const MAX_REQUESTS: usize = 1_024;
/// The maximum number of requests of a batch.
const MAX_BATCH: usize = 256;

/// The queue between the rooms' writers and the database.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    places: Arc<Semaphore>,
    /// Notified when a request is added, or the queue is closed.
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    closed: bool,
}

/// The events of a writer, and its channel for the result.
pub(super) struct Request {
    pub append: Arc<Append>,
    /// Whether it is written by itself, because a batch that contained it failed.
    alone: bool,
    done: oneshot::Sender<Result<Position, PersistError>>,
    _place: OwnedSemaphorePermit,
}

/// The result that a writer waits for: the position of its last event.
pub(crate) type Committed = oneshot::Receiver<Result<Position, PersistError>>;

/// Space for one request in the queue.
pub(crate) struct Permit<'a> {
    queue: &'a Queue,
    place: OwnedSemaphorePermit,
}

impl Request {
    /// Sends the result to the writer. A writer that has stopped waiting is ignored.
    pub(super) fn answer(self, result: Result<Position, PersistError>) {
        let Self { append, done, .. } = self;
        // First, so that the room is no longer held when the writer goes on.
        drop(append);
        let _ = done.send(result);
    }
}

impl Permit<'_> {
    /// Queues events. They are committed, or refused, even if the writer stops waiting.
    pub(crate) fn send(self, append: Append) -> Committed {
        let (done, committed) = oneshot::channel();
        self.queue.push(Request { append: Arc::new(append), alone: false, done, _place: self.place });
        committed
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), places: Arc::new(Semaphore::new(MAX_REQUESTS)), wake: Notify::new() }
    }

    /// Waits for space in the queue.
    pub(super) async fn reserve(&self) -> Result<Permit<'_>, PersistError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| DbError::Closed)?;
        Ok(Permit { queue: self, place })
    }

    /// Waits for a request. Returns `false` if the queue is closed and empty.
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
            self.wake.notified().await;
        }
    }

    /// Takes the next batch: the requests that wait now. Waiting for more would gain nothing, even where a commit is
    /// slow: the next batch gathers while this one is written.
    pub(super) fn take(&self) -> Vec<Request> {
        let mut waiting = self.waiting.lock();
        if waiting.requests.front().is_some_and(|first| first.alone) {
            return waiting.requests.pop_front().into_iter().collect();
        }
        let together = waiting.requests.iter().take(MAX_BATCH).take_while(|request| !request.alone).count();
        waiting.requests.drain(..together).collect()
    }

    /// Puts requests back at the front of the queue, in their order.
    pub(super) fn put_back(&self, requests: Vec<Request>, alone: bool) {
        let mut waiting = self.waiting.lock();
        for mut request in requests.into_iter().rev() {
            request.alone |= alone;
            waiting.requests.push_front(request);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Closes the queue: [`Queue::wait`] ends once all requests are taken.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }

    fn push(&self, request: Request) {
        self.waiting.lock().requests.push_back(request);
        self.wake.notify_one();
    }
}
