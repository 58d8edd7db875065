//! Transaction ids of clients: a repeated request returns the event of the first
//! (<https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>).

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

/// The key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionKey {
    /// A hash of sender, device and room, as it is stored.
    pub scope: i64,
    /// A hash of these and the transaction id.
    request: [u8; 16],
}

/// The maximum number of recent requests in memory.
const MAX_RECENT: usize = 4_096;

/// Returns the key of a request.
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

/// Running and recent requests. Owned by this process. Another process finds committed transaction ids in the database.
pub(crate) struct Transactions {
    db: Database,
    recent: Cache<TransactionKey, EventId>,
    running: Mutex<HashMap<TransactionKey, watch::Receiver<()>>>,
}

/// What [`Transactions::begin`] found.
pub(crate) enum Begin<'a> {
    /// The request has been made before.
    Replay(EventId),
    /// The request is not in memory. The database detects an earlier one when the event is committed.
    First(Running<'a>),
}

impl Transactions {
    pub(crate) fn new(db: Database) -> Self {
        Self { db, recent: Cache::new(MAX_RECENT), running: Mutex::default() }
    }

    /// Returns the event of a recent request.
    pub(crate) fn recent(&self, key: &TransactionKey) -> Option<EventId> {
        self.recent.get(key)
    }

    /// Begins a request. Waits while the same request is running.
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
            // The other request has ended, perhaps with an error: look again.
            let _ = done.changed().await;
        }
    }

    /// Returns the event of a committed request. `scope` is from its key.
    pub(crate) async fn find(
        &self,
        scope: i64,
        txn_id: Arc<str>,
        version: RoomVersion,
    ) -> Result<Option<EventId>, DbError> {
        let stored = self.db.read(move |tx| repo::transactions::find(tx, scope, txn_id.as_bytes())).await?;
        stored
            .map(|bytes| event_key::decode(&bytes, version))
            .transpose()
            .map_err(|error| DbError::bad_data("events, event_id", error))
    }
}

/// A running request. When it is dropped, the same request may be made again.
pub(crate) struct Running<'a> {
    all: &'a Transactions,
    key: TransactionKey,
    _wakes_when_dropped: watch::Sender<()>,
}

impl Running<'_> {
    /// Records the event of the request.
    pub(crate) fn finish(self, event_id: &EventId) {
        self.all.recent.insert(self.key, event_id.clone());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.all.running.lock().remove(&self.key);
    }
}
