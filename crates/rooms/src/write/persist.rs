//! The persister: what all rooms' writers have built goes into the database in batches, one commit each.
//!
//! A batch is one transaction of the database. Memory follows it by the changes that it announces.

mod apply;
mod outgoing;
mod queue;
mod write;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_store::repo::events::Verdict;
use plexus_store::repo::partial_joins::PartialJoin;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::repo::timeline_gaps::Gap;
use plexus_store::{Change, Database, DbError, EventNid, HandedOver, Position, Tx, repo};
use queue::{Queue, Request};
use tokio::sync::oneshot;
use write::{RoomMove, Written};

use crate::model::current_state::{CurrentState, StateChange};
use crate::model::graph_tip::Tip;
use crate::model::room::Room;
use crate::model::rooms::Shared;
use crate::model::timeline_event::{Replaced, TimelineEvent, Transaction};
use crate::write::redactions::PendingRedaction;
use crate::write::transactions::TransactionKey;

pub(crate) use apply::{AppendedBatch, apply_redactions};
pub(crate) use queue::{Committed, Permit};

/// An event that is signed and judged, but not committed.
pub struct PendingEvent {
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
    /// What is missing before it.
    pub missing: Option<Missing>,
}

/// Events that are missing from a room's graph.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The gap in the timeline that they are missing from, or [`plexus_store::repo::timeline_gaps::START`].
    pub gap_nid: EventNid,
    /// The gap's depth when it becomes known only now: it is right before the event.
    pub opens_gap: Option<u64>,
    /// Numbers of the events that name them as prev events.
    pub extremities: Vec<EventNid>,
}

impl PendingEvent {
    /// The gap that becomes known by the event, which gets this position.
    fn opened_gap(&self, position: Position) -> Option<Gap> {
        let missing = self.missing.as_ref()?;
        let depth = i64::try_from(missing.opens_gap?).unwrap_or(i64::MAX);
        Some(Gap { gap_nid: missing.gap_nid, depth, top: position, lowest: position, is_open: true })
    }
}

/// Whether other servers get an event from this one.
#[derive(Clone, Debug)]
pub enum Sending {
    /// No: they get it from its sender's server.
    No,
    /// A user of this server sent it.
    Own,
    /// The server handed it to this one to be passed on (`send_join` and its like).
    HandedBy(ServerName),
}

/// A state to be stored as its difference to another.
#[derive(Clone, Debug)]
pub struct PendingSnapshot {
    pub parent: SnapshotRef,
    /// `parent.child(nid, changes.len())`, or one that can be extended.
    pub snapshot: SnapshotRef,
    /// Type, state key and event, or [`plexus_store::repo::state_snapshots::REMOVED`].
    pub changes: Vec<(Arc<str>, Arc<str>, EventNid)>,
}

/// What the first commit of a room brings besides events.
#[derive(Default)]
pub struct Creation {
    /// An alias for the new room.
    pub alias: Option<String>,
    /// Whether the room goes into the room directory.
    pub published: bool,
}

/// One writer's events in one room: committed together or not at all.
pub struct Append {
    pub room: Arc<Room>,
    /// The epoch of the head they were built on.
    pub epoch: u64,
    pub events: Vec<PendingEvent>,
    pub creation: Option<Creation>,
    /// When this server comes into the room by them.
    pub entered: Option<Entered>,
}

/// How this server comes into a room.
pub struct Entered {
    /// When part of the state is missing yet.
    pub partial: Option<Arc<PartialJoin>>,
}

/// Why events were not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PersistError {
    /// What they were built on was not committed, or somebody else has written to the room: build again.
    #[error("the room has changed")]
    Stale,
    /// The transaction id has been used before.
    #[error("the transaction id has been used before")]
    DuplicateTransaction,
    /// The alias of the new room exists.
    #[error("the alias exists")]
    AliasTaken,
    #[error(transparent)]
    Db(DbError),
}

impl From<DbError> for PersistError {
    fn from(error: DbError) -> Self {
        match error {
            error if repo::rooms::is_stale(&error) => Self::Stale,
            error if repo::transactions::is_used(&error) => Self::DuplicateTransaction,
            error if repo::aliases::is_taken(&error) => Self::AliasTaken,
            error => Self::Db(error),
        }
    }
}

impl PersistError {
    /// Whether what was to be written is at fault, and not the database.
    fn is_of_one(&self) -> bool {
        match self {
            Self::Db(error) => error.is_of_one(),
            Self::Stale | Self::DuplicateTransaction | Self::AliasTaken => true,
        }
    }
}

/// The sending end of the queue.
pub(crate) struct Persister(Arc<Queue>);

impl Persister {
    /// Starts the task; it ends when this is dropped and everything that was queued is written.
    pub fn start(db: Database, clock: Clock, shared: Arc<Shared>) -> Self {
        let queue = Arc::new(Queue::new());
        tokio::spawn(run(Arc::new(Task { db, clock, shared, queue: Arc::clone(&queue) })));
        Self(queue)
    }

    /// Waits for room in the queue. What is sent with the permit cannot be lost by dropping the sender's future.
    pub async fn reserve(&self) -> Result<Permit<'_>, PersistError> {
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
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

/// A batch from the moment the database begins with it.
struct Batch {
    task: Arc<Task>,
    taken: Mutex<Vec<Request>>,
}

/// Hands batches to the database, the next while the one before it is committed, so that the database does not wait for
/// this task. A batch is made up when its turn has come: after the one before it has been answered.
async fn run(task: Arc<Task>) {
    while task.queue.wait().await {
        let batch = Arc::new(Batch { task: Arc::clone(&task), taken: Mutex::default() });
        let (begun, has_begun) = oneshot::channel();
        let writing = Arc::clone(&batch);
        let written = task.db.write_then(move |tx| writing.write(tx, begun), move |result| batch.end(result)).await;
        if let Err(error) = written {
            refuse(task.queue.take(), &error.into());
        }
        // It is dropped unsent when the database could not begin.
        let _ = has_begun.await;
    }
}

impl Batch {
    /// Takes what waits and writes it.
    fn write(&self, tx: &mut Tx<'_>, begun: oneshot::Sender<()>) -> Result<Option<Written>, PersistError> {
        let requests = without_stale(self.task.queue.take());
        let appends: Vec<Arc<Append>> = requests.iter().map(|request| Arc::clone(&request.append)).collect();
        *self.taken.lock() = requests;
        // The task may have ended with its runtime.
        let _ = begun.send(());
        if appends.is_empty() {
            return Ok(None);
        }
        let mut written = write::batch(tx, &self.task.shared, &appends, self.task.clock.now_ms())?;
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

    /// Answers the writers, before the next batch is taken: so that what was built on something that failed is stale then.
    fn end(&self, result: Result<Option<Written>, PersistError>) {
        let mut requests = std::mem::take(&mut *self.taken.lock());
        let queue = &self.task.queue;
        match result {
            Ok(None) => {}
            Ok(Some(Written { last_positions, texts, snapshots, .. })) => {
                self.task.shared.interner.keep(texts);
                self.task.shared.snapshots.keep(snapshots);
                for (request, position) in requests.into_iter().zip(last_positions) {
                    request.answer(Ok(position));
                }
            }
            // One of them is at fault, nobody knows which: each by itself, so that no room suffers for another.
            Err(error) if requests.len() > 1 && error.is_of_one() => queue.put_back(requests, true),
            Err(error) => {
                if requests.is_empty() {
                    // The database could not begin. Those who wait are told, and not left to wait until it can.
                    requests = queue.take();
                }
                refuse(requests, &error);
            }
        }
    }
}

/// Answers what was built on something that has failed since.
fn without_stale(requests: Vec<Request>) -> Vec<Request> {
    let is_fresh = |request: &Request| request.append.epoch == request.append.room.epoch.load(Ordering::Acquire);
    let (fresh, stale): (Vec<_>, Vec<_>) = requests.into_iter().partition(is_fresh);
    for request in stale {
        request.answer(Err(PersistError::Stale));
    }
    fresh
}

/// Answers requests that were not committed, and voids what was built on them.
fn refuse(requests: impl IntoIterator<Item = Request>, error: &PersistError) {
    for request in requests {
        request.append.room.epoch.fetch_add(1, Ordering::Release);
        request.answer(Err(error.clone()));
    }
}
