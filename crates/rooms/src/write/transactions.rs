//! Transaction ids: a repeated request is answered with the event of the first.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::id::{EventId, RoomId, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::{Database, DbError, event_key, repo};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::model::timeline_event::Transaction;

/// Which request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionKey {
    /// A hash over sender, device and room, as it is stored.
    pub scope: i64,
    /// A hash over these and the transaction id.
    request: [u8; 16],
}

/// How many recent requests are answered from memory.
const RECENT: usize = 4_096;

/// The key of a request.
pub(crate) fn key(sender: &UserId, room: &RoomId, transaction: &Transaction) -> TransactionKey {
    let mut hash = Sha256::new();
    for part in [sender.as_str(), room.as_str(), &*transaction.device_id] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let scope = i64::from_be_bytes(beginning(&hash.clone().finalize()));
    hash.update(transaction.txn_id.as_bytes());
    TransactionKey { scope, request: beginning(&hash.finalize()) }
}

fn beginning<const N: usize>(hash: &[u8]) -> [u8; N] {
    hash.first_chunk().copied().unwrap_or([0; N])
}

/// The requests under way and those just done. Owned by this process: another finds the ids of committed transactions
/// in the database.
pub(crate) struct Transactions {
    db: Database,
    recent: Cache<TransactionKey, EventId>,
    running: Mutex<HashMap<TransactionKey, watch::Receiver<()>>>,
}

/// What [`Transactions::begin`] found.
pub(crate) enum Begin<'a> {
    /// The request has been made before.
    Replay(EventId),
    /// It has not, as far as memory knows; the database decides when the event is committed.
    First(Running<'a>),
}

impl Transactions {
    pub(crate) fn new(db: Database) -> Self {
        Self { db, recent: Cache::new(RECENT), running: Mutex::default() }
    }

    /// The event of a request made a moment ago.
    pub(crate) fn recent(&self, key: &TransactionKey) -> Option<EventId> {
        self.recent.get(key)
    }

    /// Begins a request; waits while the same one is under way.
    pub(crate) async fn begin(&self, key: TransactionKey) -> Begin<'_> {
        loop {
            if let Some(event_id) = self.recent.get(&key) {
                return Begin::Replay(event_id);
            }
            let mut done = {
                let mut running = self.running.lock();
                match running.get(&key) {
                    Some(done) => done.clone(),
                    None => {
                        let (sender, done) = watch::channel(());
                        running.insert(key, done);
                        return Begin::First(Running { all: self, key, _wakes_when_dropped: sender });
                    }
                }
            };
            // An error is the end of the other request: look again.
            let _ = done.changed().await;
        }
    }

    /// The event a committed request made; `scope` is of its key.
    pub(crate) async fn find(&self, scope: i64, txn_id: Arc<str>, version: RoomVersion) -> Result<Option<EventId>, DbError> {
        let stored = self.db.read(move |tx| repo::transactions::find(tx, scope, txn_id.as_bytes())).await?;
        stored
            .map(|bytes| event_key::decode(&bytes, version))
            .transpose()
            .map_err(|error| DbError::bad_data("events, event_id", error))
    }
}

/// A request under way. Dropped, it lets the same request be made again.
pub(crate) struct Running<'a> {
    all: &'a Transactions,
    key: TransactionKey,
    _wakes_when_dropped: watch::Sender<()>,
}

impl Running<'_> {
    /// The request made this event.
    pub(crate) fn finish(self, event_id: &EventId) {
        self.all.recent.insert(self.key, event_id.clone());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.all.running.lock().remove(&self.key);
    }
}
