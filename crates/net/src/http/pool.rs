//! Open connections: a bound on how many there are, and those that are kept for another request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use plexus_base::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::purpose::{Addresses, Certificates, Policy, Purpose};

/// How long a connection is kept for another request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The most idle connections of one kind to one place.
const MAX_IDLE_PER_KEY: usize = 4;
/// The most headers of a response.
const MAX_HEADERS: usize = 256;

/// An open connection.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// The right to have one more connection open.
pub(crate) type Slot = Option<OwnedSemaphorePermit>;

/// The right to have a request under way, until dropped.
pub(crate) type Turn = Option<OwnedSemaphorePermit>;

/// Counts connections and keeps the idle ones.
pub(crate) struct Pool {
    slots: Arc<Semaphore>,
    /// How many wait for a slot.
    waiting: AtomicUsize,
    idle: Mutex<Idle>,
    clock: Clock,
}

/// What a connection can be used for again: requests to the same place for which the same is decided about addresses,
/// certificates and proxies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ConnectionKey {
    addresses: Addresses,
    certificates: Certificates,
    may_use_proxy: bool,
    place: String,
}

impl ConnectionKey {
    pub(super) fn new(purpose: Purpose, place: &str) -> Self {
        let Policy { addresses, certificates, may_use_proxy, .. } = purpose.policy();
        Self { addresses, certificates, may_use_proxy, place: place.to_owned() }
    }
}

#[derive(Default)]
struct Idle {
    /// In the order in which they became idle.
    connections: BTreeMap<u64, IdleConnection>,
    by_key: HashMap<ConnectionKey, Vec<u64>>,
    next: u64,
}

struct IdleConnection {
    key: ConnectionKey,
    sender: Sender,
    /// On the clock's monotonic time.
    since: Duration,
}

/// A connection in use: closed when dropped, kept for the next request when given back.
pub(crate) struct Lease {
    pub(super) sender: Sender,
    key: ConnectionKey,
    pool: Arc<Pool>,
}

impl Lease {
    /// To be called when the last response has been read to its end.
    pub(super) fn give_back(self) {
        self.pool.put(self.key, self.sender);
    }
}

impl Pool {
    pub(super) fn new(max_connections: usize, clock: Clock) -> Self {
        let slots = Arc::new(Semaphore::new(max_connections));
        Self { slots, waiting: AtomicUsize::new(0), idle: Mutex::default(), clock }
    }

    /// Waits until one more connection may be opened. Idle ones make room.
    pub(super) async fn slot(&self) -> Slot {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        self.idle.lock().remove_oldest();
        // Nobody closes the semaphore.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Takes an idle connection, the one used last.
    pub(super) async fn take(self: &Arc<Self>, key: &ConnectionKey) -> Option<Lease> {
        loop {
            let mut sender = self.idle.lock().take(key)?;
            if sender.ready().await.is_ok() {
                return Some(self.lease(key, sender));
            }
        }
    }

    /// A connection that is new.
    pub(super) fn lease(self: &Arc<Self>, key: &ConnectionKey, sender: Sender) -> Lease {
        Lease { sender, key: key.clone(), pool: Arc::clone(self) }
    }

    /// Keeps a connection, unless somebody waits to open one.
    fn put(&self, key: ConnectionKey, sender: Sender) {
        if self.waiting.load(Ordering::Relaxed) == 0 && !sender.is_closed() {
            let since = self.clock.monotonic();
            self.idle.lock().put(key, sender, since);
            // Somebody may have begun to wait meanwhile, and have found nothing idle.
            if self.waiting.load(Ordering::Relaxed) > 0 {
                self.idle.lock().remove_oldest();
            }
        }
    }

    /// Closes connections that have been idle for too long, for ever.
    pub(super) async fn run_housekeeping(&self) {
        loop {
            self.clock.sleep(IDLE_TIMEOUT / 2).await;
            let now = self.clock.monotonic();
            self.idle.lock().remove_older_than(now.saturating_sub(IDLE_TIMEOUT));
        }
    }
}

impl Idle {
    fn put(&mut self, key: ConnectionKey, sender: Sender, since: Duration) {
        let serial = self.next;
        self.next += 1;
        let of_key = self.by_key.entry(key.clone()).or_default();
        of_key.push(serial);
        let surplus = (of_key.len() > MAX_IDLE_PER_KEY).then(|| of_key.remove(0));
        self.connections.insert(serial, IdleConnection { key, sender, since });
        if let Some(surplus) = surplus {
            self.connections.remove(&surplus);
        }
    }

    fn take(&mut self, key: &ConnectionKey) -> Option<Sender> {
        let of_key = self.by_key.get_mut(key)?;
        let serial = of_key.pop();
        if of_key.is_empty() {
            self.by_key.remove(key);
        }
        self.connections.remove(&serial?).map(|connection| connection.sender)
    }

    fn remove_oldest(&mut self) {
        let Some((serial, connection)) = self.connections.pop_first() else { return };
        if let Some(of_key) = self.by_key.get_mut(&connection.key) {
            of_key.retain(|other| *other != serial);
            if of_key.is_empty() {
                self.by_key.remove(&connection.key);
            }
        }
    }

    fn remove_older_than(&mut self, limit: Duration) {
        while self.connections.first_key_value().is_some_and(|(_, oldest)| oldest.since < limit) {
            self.remove_oldest();
        }
    }
}

/// Counts as waiting until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Speaks HTTP/1.1 over `stream`. The connection is open, and holds its slot, until the sender is dropped and the last
/// response was read or dropped.
pub(crate) async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    slot: Slot,
) -> Result<Sender, hyper::Error> {
    let (sender, connection) = http1::Builder::new().max_headers(MAX_HEADERS).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // An error also reaches whoever waits for the response.
        drop(connection.await);
        drop(slot);
    });
    Ok(sender)
}
