//! Open connections: a bound on how many there are, and those that wait for another request.

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
use plexus_protocol::id::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection waits for another request.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// The most connections to one server that wait.
const IDLE_PER_SERVER: usize = 4;

/// An open connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// The right to have one more connection open.
pub(super) type Slot = Option<OwnedSemaphorePermit>;

/// Counts connections and keeps the idle ones.
pub(super) struct Pool {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    idle: Mutex<Idle>,
    clock: Clock,
}

#[derive(Default)]
struct Idle {
    /// In the order in which they became idle.
    connections: BTreeMap<u64, IdleConnection>,
    by_server: HashMap<ServerName, Vec<u64>>,
    next: u64,
}

struct IdleConnection {
    server: ServerName,
    sender: Sender,
    /// On the clock's monotonic time.
    since: Duration,
}

impl Pool {
    pub(super) fn new(max_connections: usize, clock: Clock) -> Self {
        let slots = Arc::new(Semaphore::new(max_connections.max(1)));
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

    /// An idle connection to `server`, the one used last.
    pub(super) async fn take(&self, server: &ServerName) -> Option<Sender> {
        loop {
            let mut sender = self.idle.lock().take(server)?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// Keeps a connection whose last answer has been read to the end, unless somebody waits to open one.
    pub(super) fn put(&self, server: ServerName, sender: Sender) {
        if self.waiting.load(Ordering::Relaxed) == 0 && !sender.is_closed() {
            let since = self.clock.monotonic();
            self.idle.lock().put(server, sender, since);
            // Somebody may have begun to wait meanwhile, and have found nothing idle.
            if self.waiting.load(Ordering::Relaxed) > 0 {
                self.idle.lock().remove_oldest();
            }
        }
    }

    /// Closes what has been idle for too long, for ever.
    pub(super) async fn run_housekeeping(&self) {
        loop {
            self.clock.sleep(IDLE_TIME / 2).await;
            let now = self.clock.monotonic();
            self.idle.lock().remove_older_than(now.saturating_sub(IDLE_TIME));
        }
    }
}

impl Idle {
    fn put(&mut self, server: ServerName, sender: Sender, since: Duration) {
        let serial = self.next;
        self.next += 1;
        let of_server = self.by_server.entry(server.clone()).or_default();
        of_server.push(serial);
        let surplus = (of_server.len() > IDLE_PER_SERVER).then(|| of_server.remove(0));
        self.connections.insert(serial, IdleConnection { server, sender, since });
        if let Some(surplus) = surplus {
            self.connections.remove(&surplus);
        }
    }

    fn take(&mut self, server: &ServerName) -> Option<Sender> {
        let of_server = self.by_server.get_mut(server)?;
        let serial = of_server.pop();
        if of_server.is_empty() {
            self.by_server.remove(server);
        }
        self.connections.remove(&serial?).map(|connection| connection.sender)
    }

    fn remove_oldest(&mut self) {
        let Some((serial, connection)) = self.connections.pop_first() else { return };
        if let Some(of_server) = self.by_server.get_mut(&connection.server) {
            of_server.retain(|other| *other != serial);
            if of_server.is_empty() {
                self.by_server.remove(&connection.server);
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

/// Speaks HTTP/1.1 over `stream`. The connection is open, and holds its slot, until the sender is dropped and the last answer
/// was read or dropped.
pub(super) async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    slot: Slot,
) -> Result<Sender, hyper::Error> {
    let (sender, connection) = http1::Builder::new().max_headers(256).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // What goes wrong reaches the one who waits for the answer.
        drop(connection.await);
        drop(slot);
    });
    Ok(sender)
}
