//! The persister: writes the events of all rooms to the database in batches, each a transaction. Memory follows the
//! changes that a batch announces.

mod apply;
mod outgoing;
mod queue;
mod sticky;
mod write;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_store::{Change, Database, HandedOver, Tx, repo};
use queue::{Queue, Request};
use tokio::sync::oneshot;
use write::{RoomMove, Written};

use crate::model::engine_memory::EngineMemory;
use crate::write::error::PersistError;
use crate::write::pending::Append;

pub(crate) use apply::{AppendedBatch, apply_redactions};
pub(crate) use queue::{Committed, Permit};

/// The sending end of the queue.
pub(crate) struct Persister(Arc<Queue>);

impl Persister {
    /// Starts the task. It ends when this is dropped and all queued events are written.
    pub(crate) fn start(db: Database, clock: Clock, memory: Arc<EngineMemory>) -> Self {
        let queue = Arc::new(Queue::new());
        tokio::spawn(run(Arc::new(Task { db, clock, memory, queue: Arc::clone(&queue) })));
        Self(queue)
    }

    /// Waits for space in the queue. Events that are sent with the permit are not lost when the sender's future is
    /// dropped.
    pub(crate) async fn reserve(&self) -> Result<Permit<'_>, PersistError> {
        self.0.reserve().await
    }
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Task {
    db: Database,
    clock: Clock,
    memory: Arc<EngineMemory>,
    queue: Arc<Queue>,
}

/// A batch that is being written.
struct Batch {
    task: Arc<Task>,
    taken: Mutex<Vec<Request>>,
}

/// Sends batches to the database, each while the one before is being committed, so that the database does not wait for
/// this task. The requests of a batch are taken when its transaction begins, after the batch before it has ended.
async fn run(task: Arc<Task>) {
    while task.queue.wait().await {
        let batch = Arc::new(Batch { task: Arc::clone(&task), taken: Mutex::default() });
        let (begun, has_begun) = oneshot::channel();
        let writing = Arc::clone(&batch);
        let written = task.db.write_then(move |tx| writing.write(tx, begun), move |result| batch.end(result)).await;
        if let Err(error) = written {
            refuse(task.queue.take(), &error.into());
        }
        // Dropped if the transaction could not begin.
        let _ = has_begun.await;
    }
}

impl Batch {
    /// Takes the waiting requests, and writes them.
    fn write(&self, tx: &mut Tx<'_>, begun: oneshot::Sender<()>) -> Result<Option<Written>, PersistError> {
        let requests = without_stale(self.task.queue.take());
        let appends: Vec<Arc<Append>> = requests.iter().map(|request| Arc::clone(&request.append)).collect();
        *self.taken.lock() = requests;
        // The task may have ended with its runtime.
        let _ = begun.send(());
        if appends.is_empty() {
            return Ok(None);
        }
        let mut written = write::batch(tx, &self.task.memory, &appends, self.task.clock.now_ms())?;
        let positions = std::mem::take(&mut written.positions);
        let batch: Arc<dyn Any + Send + Sync> = Arc::new(AppendedBatch { appends, positions });
        for RoomMove { room, revision, position, redacts } in std::mem::take(&mut written.moves) {
            let object = HandedOver::new(Arc::clone(&batch));
            match position {
                Some(position) => tx.announce(Change::Room { room, revision, position, redacts, object }),
                None => repo::other_changes::record_room(tx, room, revision, redacts, object)?,
            }
        }
        Ok(Some(written))
    }

    /// Responds to the writers. This is done before the next batch is taken, where events built on failed ones are
    /// stale.
    fn end(&self, result: Result<Option<Written>, PersistError>) {
        let mut requests = std::mem::take(&mut *self.taken.lock());
        let queue = &self.task.queue;
        match result {
            Ok(None) => {}
            Ok(Some(Written { last_positions, texts, snapshots, .. })) => {
                self.task.memory.interner.keep(texts);
                self.task.memory.snapshots.keep(snapshots);
                for (request, position) in requests.into_iter().zip(last_positions) {
                    request.answer(Ok(position));
                }
            }
            // One of the requests is at fault. Each is written by itself, so that it affects no other room.
            Err(error) if requests.len() > 1 && error.is_of_one() => queue.put_back(requests, true),
            Err(error) => {
                if requests.is_empty() {
                    // The transaction could not begin. The waiting writers get the error at once.
                    requests = queue.take();
                }
                refuse(requests, &error);
            }
        }
    }
}

/// Removes requests that were built on failed events, and responds to their writers.
fn without_stale(requests: Vec<Request>) -> Vec<Request> {
    let is_fresh = |request: &Request| request.append.epoch == request.append.room.epoch.load(Ordering::Acquire);
    let (fresh, stale): (Vec<_>, Vec<_>) = requests.into_iter().partition(is_fresh);
    for request in stale {
        request.answer(Err(PersistError::Stale));
    }
    fresh
}

/// Responds to requests that were not committed, and voids events that were built on them.
fn refuse(requests: impl IntoIterator<Item = Request>, error: &PersistError) {
    for request in requests {
        request.append.room.epoch.fetch_add(1, Ordering::Release);
        request.answer(Err(error.clone()));
    }
}
