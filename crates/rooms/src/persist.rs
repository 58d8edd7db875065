//! The persister: what all rooms' writers have built goes into the database in batches, one commit each.
//!
//! A batch is one `Database::write`. Memory is updated after the commit and before its position is published.

mod apply;
mod outgoing;
mod write;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_base::Clock;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_store::repo::events::Verdict;
use plexus_store::repo::partial_joins::PartialJoin;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{Database, DbError, EventNid, Position};
use tokio::sync::{mpsc, oneshot};

use crate::head::{StateChange, Tip};
use crate::registry::Shared;
use crate::room::{CurrentState, Room};
use crate::state_map::StateEntry;
use crate::timeline_event::{Replaced, TimelineEvent, Transaction};
use crate::transactions::TransactionKey;

/// How many requests may wait for the persister; then writers wait.
const QUEUE: usize = 1_024;
/// How many requests go into one commit.
const BATCH: usize = 256;

/// An event that is signed and judged, but not committed.
pub(crate) struct PendingEvent {
    pub nid: EventNid,
    pub pdu: Pdu,
    /// The JSON as the database stores it; not needed when it is stored already.
    pub packed: Vec<u8>,
    /// There is a row of it: it was an outlier.
    pub stored: bool,
    /// Whether clients see it; else it was soft-failed or rejected, or is an invite to a room this server is not in.
    pub in_timeline: bool,
    pub verdict: Verdict,
    /// State before the event; `None` for an outlier.
    pub snapshot_before: Option<SnapshotRef>,
    /// Snapshots it brings: merged states, and the state after a state event. Parents come first.
    pub snapshots: Vec<PendingSnapshot>,
    /// What becomes of the current state.
    pub changes: Vec<StateChange>,
    /// What a state event replaced in the current state.
    pub replaced: Option<Replaced>,
    /// What entries of `changes` refer to until the event is committed.
    pub _kept: Option<Arc<TimelineEvent>>,
    pub transaction: Option<(TransactionKey, Transaction)>,
    /// The redaction that came before the event.
    pub redacted_by: Option<Arc<TimelineEvent>>,
    /// The event this redacts.
    pub redacts: Option<PendingRedaction>,
    /// The room after the event.
    pub tip: Tip,
    pub current: Arc<CurrentState>,
    /// Whether other servers get it from this one.
    pub sending: Sending,
}

/// Whether other servers get an event from this one.
#[derive(Clone, Debug)]
pub(crate) enum Sending {
    /// No: they get it from its sender's server.
    No,
    /// A user of this server sent it.
    Own,
    /// The server handed it to this one to be passed on (`send_join` and its like).
    HandedBy(ServerName),
}

/// What a pending redaction redacts.
pub(crate) struct PendingRedaction {
    pub target: EventNid,
    /// The target's entry in the current state, if it has one.
    pub entry: Option<Arc<StateEntry>>,
}

/// A state to be stored as its difference to another.
#[derive(Clone, Debug)]
pub(crate) struct PendingSnapshot {
    pub parent: SnapshotRef,
    /// `parent.child(nid, changes.len())`, or one that can be extended.
    pub snapshot: SnapshotRef,
    /// Type, state key and event, or [`plexus_store::repo::state_snapshots::REMOVED`].
    pub changes: Vec<(Arc<str>, Arc<str>, EventNid)>,
}

/// What the first commit of a room brings besides events.
#[derive(Default)]
pub(crate) struct Creation {
    /// An alias for the new room.
    pub alias: Option<String>,
    /// Whether the room goes into the room directory.
    pub published: bool,
}

/// One writer's events in one room: committed together or not at all.
pub(crate) struct Append {
    pub room: Arc<Room>,
    /// The epoch of the head they were built on.
    pub epoch: u64,
    pub events: Vec<PendingEvent>,
    pub creation: Option<Creation>,
    /// When this server comes into the room by them.
    pub entered: Option<Entered>,
}

/// How this server comes into a room.
pub(crate) struct Entered {
    /// When part of the state is missing yet.
    pub partial: Option<Arc<PartialJoin>>,
}

/// Why events were not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PersistError {
    /// What they were built on was not committed, or somebody else has written to the room: build again.
    #[error("the room has changed")]
    Stale,
    /// The transaction id has been used before.
    #[error("the transaction id has been used before")]
    DuplicateTransaction,
    /// The alias exists.
    #[error("the alias {0} exists")]
    AliasTaken(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a writer waits for: the position of its last event.
pub(crate) type Committed = oneshot::Receiver<Result<Position, PersistError>>;

/// Room for one request in the persister's queue.
pub(crate) struct Permit<'a>(mpsc::Permit<'a, Request>);

struct Request {
    append: Arc<Append>,
    done: oneshot::Sender<Result<Position, PersistError>>,
}

/// The sending end of the queue.
pub(crate) struct Persister {
    queue: mpsc::Sender<Request>,
}

impl Persister {
    /// Starts the task; it ends when the queue's sending end is dropped.
    pub fn start(db: Database, clock: Clock, shared: Arc<Shared>) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        tokio::spawn(run(Task { db, clock, shared }, requests));
        Self { queue }
    }

    /// Waits for room in the queue. What is sent with the permit cannot be lost by dropping the sender's future.
    pub async fn reserve(&self) -> Result<Permit<'_>, PersistError> {
        self.queue.reserve().await.map(Permit).map_err(|_| PersistError::Db(DbError::Closed))
    }
}

impl Permit<'_> {
    pub fn send(self, append: Append) -> Committed {
        let (done, committed) = oneshot::channel();
        self.0.send(Request { append: Arc::new(append), done });
        committed
    }
}

struct Task {
    db: Database,
    clock: Clock,
    shared: Arc<Shared>,
}

async fn run(task: Task, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        task.commit(std::mem::take(&mut batch)).await;
    }
}

impl Task {
    /// Commits a batch; requests that cannot be committed are answered and the others tried again without them.
    async fn commit(&self, batch: Vec<Request>) {
        let mut waiting = VecDeque::from([batch]);
        while let Some(batch) = waiting.pop_front() {
            let mut batch = self.without_stale(batch);
            if batch.is_empty() {
                continue;
            }
            match self.write(&batch).await {
                Ok(positions) => {
                    for (request, position) in batch.into_iter().zip(positions) {
                        // A writer that has given up is no concern.
                        let _ = request.done.send(Ok(position));
                    }
                }
                Err(write::Refusal { at: Some(at), error }) if at < batch.len() => {
                    refuse(batch.remove(at), error);
                    waiting.push_front(batch);
                }
                // One of them is at fault, nobody knows which: each by itself, so that no room suffers for another.
                Err(refusal) if batch.len() > 1 && refusal.is_of_one() => {
                    waiting.extend(batch.into_iter().map(|request| vec![request]))
                }
                Err(write::Refusal { error, .. }) => {
                    for request in batch {
                        refuse(request, error.clone());
                    }
                }
            }
        }
    }

    async fn write(&self, batch: &[Request]) -> Result<Vec<Position>, write::Refusal> {
        let appends: Vec<Arc<Append>> = batch.iter().map(|request| Arc::clone(&request.append)).collect();
        let shared = Arc::clone(&self.shared);
        let now_ms = self.clock.now_ms();
        self.db
            .write(move |tx| {
                let written = write::batch(tx, &shared, &appends, now_ms)?;
                let positions = written.last_positions();
                tx.after_commit(move || apply::apply(&shared, &appends, written));
                Ok(positions)
            })
            .await
    }

    /// Answers what was built on something that has failed since.
    fn without_stale(&self, batch: Vec<Request>) -> Vec<Request> {
        let (fresh, stale): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|it| it.append.epoch == it.append.room.epoch.load(Ordering::Acquire));
        for request in stale {
            let _ = request.done.send(Err(PersistError::Stale));
        }
        fresh
    }
}

/// Answers a request that was not committed, and voids what was built on it.
fn refuse(request: Request, error: PersistError) {
    request.append.room.epoch.fetch_add(1, Ordering::Release);
    // A writer that has given up is no concern.
    let _ = request.done.send(Err(error));
}
