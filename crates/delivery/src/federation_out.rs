//! What follows the log toward other servers (server-server API, "Transactions" and "EDUs").
//!
//! - `mailbox`: where news are left, at the same cost for any number of servers
//! - `distribute`: finds out who gets a durable piece of news; `recent` keeps the newest of them, each once
//! - `book`: the servers to which something is on its way, and how far each has come
//! - `batch`, `backlog`: what a server gets next, from memory or from the database
//! - `refusals`: takes apart what a server refuses
//! - `deliver`: one transaction at a time to each server, to so many servers at once; who is slow holds up nobody else
//! - `device_updates`, `introductions`, `ephemeral`, `tell`: EDUs
//! - `transport`: how transactions get there
//!
//! A server's place in the log is its cursor. One that has got everything has none: `federation_position` speaks for it. One
//! that fails has a row in `federation_cursors`.

mod backlog;
mod batch;
mod book;
mod deliver;
mod device_updates;
mod distribute;
mod ephemeral;
mod introductions;
mod mailbox;
mod pace;
mod recent;
mod refusals;
mod tell;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_e2ee::DeviceKeys;
use plexus_protocol::id::{ServerName, UserId};
use plexus_rooms::Rooms;
use plexus_store::{Database, DbError, Position, Tx, repo};
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use book::{Behind, Book};
use deliver::Lanes;
use plexus_sync::Notifier;
use plexus_sync::presence::Presence;
use plexus_sync::receipts::Receipts;
use recent::Recent;

use mailbox::Mailbox;
pub use transport::{Pending, Transport};

/// How far everybody has come is written at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);
const TIDY: Duration = Duration::from_secs(3_600);
/// Of how many users the newest device list update is remembered; of others the database knows.
const KEPT_STREAM_IDS: usize = 10_000;
/// A server that is further behind than this many events gets only the newest event of each room.
const KEPT_LOG: u64 = 1_000_000;

/// What the delivery to other servers works with.
pub struct FederationOutParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub notifier: Arc<Notifier>,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub device_keys: DeviceKeys,
    pub transport: Arc<dyn Transport>,
    /// Whether other servers are told the names of devices.
    pub tell_device_names: bool,
    /// `federation_rr_transactions_per_room_per_second`: how many receipts of a room are sent in a second, counted by servers.
    pub receipts_per_second: u32,
}

/// Delivers to other servers.
pub struct FederationOut {
    parts: FederationOutParts,
    mailbox: Arc<Mailbox>,
    state: Mutex<State>,
    /// When this began, Unix ms: part of the ids of transactions that hold nothing durable.
    began_ms: u64,
    serial: std::sync::atomic::AtomicU64,
    lanes: Lanes,
    /// The stream ids of the newest device list updates that were handed out.
    stream_ids: Cache<UserId, Position>,
    /// There is a server whose turn it is.
    ready: Notify,
    /// Something has come further.
    progressed: Notify,
}

struct State {
    book: Book,
    recent: Recent,
    /// No more turns are given.
    stopping: bool,
}

impl FederationOut {
    /// Goes on where the last run of the program stopped, once [`Self::run`] runs. To be called before the first write.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(parts: FederationOutParts) -> Result<Arc<Self>, DbError> {
        let read = |tx: &mut Tx<'_>| {
            let cursors = repo::federation_out::cursors(tx)?;
            let to_device = repo::federation_out::to_device_servers(tx)?;
            Ok::<_, DbError>((repo::federation_out::position(tx)?, cursors, to_device))
        };
        let (position, cursors, to_device) = parts.db.read(read).await?;
        // A row that names no server can be of no use.
        let name = |server: String| ServerName::try_from(server).ok();
        let behind = cursors.into_iter().filter_map(|(server, cursor)| {
            let server = name(server)?;
            Some(Behind { away: parts.transport.is_failing(&server), server, cursor })
        });
        let book = Book::new(position, behind.collect(), to_device.into_iter().filter_map(name).collect());
        let mailbox = Arc::new(Mailbox::new(parts.rooms.server_name().clone()));
        parts.db.add_listener(Arc::clone(&mailbox) as _);
        parts.notifier.add_ephemeral_listener(Arc::clone(&mailbox) as _);
        Ok(Arc::new(Self {
            mailbox,
            state: Mutex::new(State { book, recent: Recent::new(position), stopping: false }),
            lanes: Lanes::new(parts.transport.capacity()),
            stream_ids: Cache::new(KEPT_STREAM_IDS),
            began_ms: parts.clock.now_ms(),
            serial: std::sync::atomic::AtomicU64::new(0),
            ready: Notify::new(),
            progressed: Notify::new(),
            parts,
        }))
    }

    /// Delivers, without end.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.listen(), self.introduce(), Arc::clone(&self).deliver(), self.keep_progress(), self.tidy());
    }

    /// Begins nothing more, and waits a little for the transactions that are under way.
    pub async fn stop(&self) {
        self.state.lock().stopping = true;
        self.lanes.finish_prompt().await;
    }

    /// Writes how far everybody has come, once [`Self::run`] has ended.
    pub async fn close(&self) {
        self.state.lock().book.close();
        self.flush().await;
    }

    /// Writes how far everybody has come; what is not written is sent again after a restart.
    async fn flush(&self) {
        let Some(progress) = self.state.lock().book.progress() else { return };
        let progress = Arc::new(progress);
        let written = Arc::clone(&progress);
        let write = move |tx: &mut Tx<'_>| {
            repo::federation_out::set_progress(tx, written.position, &written.behind, &written.caught_up)
        };
        if let Err(error) = self.parts.db.write(write).await {
            let error: DbError = error;
            tracing::warn!("cannot record how far other servers have come: {error}");
            self.state.lock().book.unwritten(&progress);
        }
    }

    async fn keep_progress(&self) {
        loop {
            self.progressed.notified().await;
            self.flush().await;
            self.parts.clock.sleep(PROGRESS_PAUSE).await;
        }
    }

    /// Forgets what everybody has got, now and then.
    async fn tidy(&self) {
        loop {
            let (everybody_has, distributed) = {
                let state = self.state.lock();
                (state.book.everybody_has(), state.book.distributed)
            };
            let write = move |tx: &mut Tx<'_>| {
                repo::federation_out::forget(tx, everybody_has)?;
                repo::federation_out::thin_out(tx, distributed, KEPT_LOG)
            };
            if let Err(error) = self.parts.db.write(write).await {
                let error: DbError = error;
                tracing::warn!("what other servers have got is kept: {error}");
            }
            self.parts.clock.sleep(TIDY).await;
        }
    }

    /// Whether anything may be sent to a server.
    fn is_other(&self, server: &ServerName) -> bool {
        server != self.parts.rooms.server_name() && self.parts.transport.is_allowed(server)
    }
}
