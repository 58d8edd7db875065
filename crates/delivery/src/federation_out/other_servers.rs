//! Other servers as destinations of an outbox.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use plexus_net::FederationError;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_rooms::Servers;
use plexus_store::{Database, DbError, Position, Tx, repo};

use super::ephemeral::{Ephemeral, MAX_PIECE_BYTES};
use super::log::LogReader;
use super::refusals::widened;
use super::send::{SendError, TransactionSender};
use super::transaction::MAX_PIECES;
use super::transport::Transport;
use crate::outbox::{
    Behind, CameBack, Content, Cursors, DestinationKind, Due, Extras, LogChunk, Outbox, Outcome, Progress, Recipients,
    Retry, SlotLimits, Turn,
};

/// The most transactions that are under way at the same time: each may take a connection. The other connections are for
/// requests of users.
const MAX_FAST_TRANSACTIONS: u32 = 128;
const MAX_SLOW_TRANSACTIONS: u32 = 256;
/// How long until a server that refuses, or could not be served, without being left alone is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(300);
/// The most ephemeral EDUs that wait for one server; then the oldest is dropped.
const MAX_EPHEMERAL: usize = 500;
/// A server that is further behind than this many events gets only the newest event of each room.
const MAX_LOG_EVENTS: u64 = 1_000_000;

/// Other servers.
pub(super) struct OtherServers {
    db: Database,
    log: LogReader,
    transactions: TransactionSender,
    transport: Arc<dyn Transport>,
}

/// What an entry of the log is for other servers.
#[derive(Clone)]
pub(super) enum LogContent {
    Pdu(Pdu),
    /// EDUs, each with `edu_type` and `content`.
    Edus(Arc<[String]>),
}

/// The servers that get an entry of the log.
pub(super) enum LogRecipients {
    Room {
        servers: Servers,
        /// The server that has it already.
        except: Option<String>,
        /// Servers that are not in the room.
        also: Vec<String>,
    },
    Servers(Arc<BTreeSet<String>>),
}

/// What a server gets beside the log.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerExtras {
    /// There may be messages for its devices.
    pub to_device: bool,
    /// It refuses so many of them that they are held back for now.
    pub holds_to_device: bool,
    /// The most pieces in its next transaction, while the one that it refuses is being found.
    pub limit: Option<usize>,
    pub ephemeral: VecDeque<Ephemeral>,
}

/// The slots for transactions of a server that may have so many connections.
pub(super) fn slot_limits(connections: usize) -> SlotLimits {
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    SlotLimits {
        fast: (connections / 2).clamp(1, MAX_FAST_TRANSACTIONS),
        slow: (connections / 4).clamp(1, MAX_SLOW_TRANSACTIONS),
    }
}

/// Adds an EDU that may be lost for servers, except those that are left alone. Call [`Outbox::wake`] afterwards.
pub(super) fn add_ephemeral<'s>(
    outbox: &Outbox<OtherServers>,
    servers: impl Iterator<Item = &'s str>,
    edu: &Ephemeral,
) {
    if edu.bytes() > MAX_PIECE_BYTES {
        let (kind, bytes, subject) = (edu.edu_type(), edu.bytes(), edu.subject());
        tracing::warn!("other servers are not sent an {kind} of {bytes} bytes: {subject}");
        return;
    }
    let transport = &outbox.kind().transport;
    let servers = servers.filter_map(|name| ServerName::try_from(name).ok());
    let servers = servers.filter(|server| transport.backing_off_until(server).is_none());
    outbox.add_ephemeral(servers, |extras| extras.push_ephemeral(edu.clone()));
}

impl OtherServers {
    pub fn new(db: Database, log: LogReader, transactions: TransactionSender, transport: Arc<dyn Transport>) -> Self {
        Self { db, log, transactions, transport }
    }
}

impl DestinationKind for OtherServers {
    type Key = ServerName;
    type Content = LogContent;
    type Recipients = LogRecipients;
    type Extras = ServerExtras;

    const MAX_DUE: usize = MAX_PIECES;
    const DESTINATIONS: &'static str = "other servers";

    async fn load_cursors(&self) -> Result<Cursors<ServerName, ServerExtras>, DbError> {
        let read = |tx: &mut Tx<'_>| {
            let cursors = repo::federation_out::cursors(tx)?;
            let to_device = repo::federation_out::to_device_servers(tx)?;
            Ok::<_, DbError>((repo::federation_out::position(tx)?, cursors, to_device))
        };
        let (position, cursors, to_device) = self.db.read(read).await?;
        // A row that names no server can be of no use.
        let name = |server: String| ServerName::try_from(server).ok();
        let behind = cursors.into_iter().filter_map(|(server, cursor)| {
            let key = name(server)?;
            Some(Behind { away: self.transport.is_failing(&key), key, cursor })
        });
        let messages = ServerExtras { to_device: true, ..ServerExtras::default() };
        let extras = to_device.into_iter().filter_map(name).map(|server| (server, messages.clone()));
        Ok(Cursors { position, behind: behind.collect(), extras: extras.collect() })
    }

    async fn store_progress(&self, progress: Arc<Progress<ServerName>>) -> Result<(), DbError> {
        let write = move |tx: &mut Tx<'_>| {
            let Progress { position, behind, caught_up } = &*progress;
            repo::federation_out::set_progress(tx, *position, behind, caught_up)
        };
        self.db.write(write).await
    }

    async fn forget_delivered(&self, delivered: Position, distributed: Position) -> Result<(), DbError> {
        let write = move |tx: &mut Tx<'_>| {
            repo::federation_out::forget(tx, delivered)?;
            repo::federation_out::thin_out(tx, distributed, MAX_LOG_EVENTS)?;
            Ok(())
        };
        self.db.write(write).await
    }

    fn committed(&self) -> Position {
        self.db.committed()
    }

    async fn read_log(&self, after: Position, upto: Position) -> Result<LogChunk<LogContent, LogRecipients>, DbError> {
        self.log.read(after, upto).await
    }

    async fn catch_up(&self, server: &ServerName, after: Position, upto: Position) -> Result<Due<LogContent>, DbError> {
        self.log.catch_up(server, after, upto).await
    }

    fn is_allowed(&self, server: &ServerName) -> bool {
        server != self.transactions.server_name() && self.transport.is_allowed(server)
    }

    fn check(&self, server: &ServerName) -> Result<(), Outcome<ServerExtras>> {
        match self.transport.backing_off_until(server) {
            Some(until_ms) => {
                let error = FederationError::BackingOff { destination: server.clone(), until_ms };
                Err(self.failed(server, error.into()))
            }
            None => Ok(()),
        }
    }

    async fn deliver(&self, turn: &Turn<ServerName, ServerExtras>, due: Due<LogContent>) -> Outcome<ServerExtras> {
        match self.transactions.send(turn, due).await {
            Ok(outcome) => outcome,
            Err(SendError::Federation(FederationError::NotAllowed(_) | FederationError::OwnServer)) => {
                Outcome::Abandoned
            }
            Err(error) => self.failed(&turn.key, error.into()),
        }
    }

    fn failed(&self, server: &ServerName, error: Box<dyn Error + Send + Sync>) -> Outcome<ServerExtras> {
        let retry = if self.transport.will_be_retried(server) {
            Retry::Soon
        } else if self.transport.backing_off_until(server).is_some() {
            // The error was logged when it was decided that the server is left alone.
            Retry::Later
        } else {
            Retry::After(RETRY_AFTER)
        };
        Outcome::Failed { error, retry }
    }

    async fn came_back(&self) -> CameBack<ServerName> {
        let plexus_net::CameBack { server, is_up } = self.transport.came_back().await;
        CameBack { key: server, is_up }
    }
}

impl LogContent {
    /// How many events of a transaction it takes.
    pub fn pdus(&self) -> usize {
        usize::from(matches!(self, Self::Pdu(_)))
    }

    /// How many EDUs of a transaction it takes.
    pub fn edus(&self) -> usize {
        match self {
            Self::Pdu(_) => 0,
            Self::Edus(edus) => edus.len(),
        }
    }
}

impl Content for LogContent {
    fn bytes(&self) -> usize {
        match self {
            Self::Pdu(pdu) => pdu.json().len(),
            Self::Edus(edus) => edus.iter().map(String::len).sum(),
        }
    }
}

impl Recipients<ServerName> for LogRecipients {
    fn contains(&self, server: &ServerName) -> bool {
        let server = server.as_str();
        match self {
            Self::Room { servers, except, also } => {
                also.iter().any(|other| other == server)
                    || (except.as_deref() != Some(server) && servers.contains(server))
            }
            Self::Servers(servers) => servers.contains(server),
        }
    }

    fn keys(&self) -> Vec<ServerName> {
        match self {
            Self::Room { servers, except, also } => {
                let in_room = servers.names().filter(|server| except.as_deref() != Some(*server));
                let names = also.iter().map(String::as_str).chain(in_room);
                names.filter_map(|name| ServerName::try_from(name).ok()).collect()
            }
            Self::Servers(servers) => {
                servers.iter().filter_map(|name| ServerName::try_from(name.as_str()).ok()).collect()
            }
        }
    }
}

impl ServerExtras {
    /// Adds an EDU in place of an older one about the same.
    pub fn push_ephemeral(&mut self, edu: Ephemeral) {
        self.ephemeral.retain(|other| other.key() != edu.key());
        if self.ephemeral.len() >= MAX_EPHEMERAL {
            self.ephemeral.pop_front();
        }
        self.ephemeral.push_back(edu);
    }
}

impl Extras for ServerExtras {
    fn is_due(&self) -> bool {
        (self.to_device && !self.holds_to_device) || !self.ephemeral.is_empty()
    }

    fn is_durable(&self) -> bool {
        self.to_device
    }

    fn take(&mut self) -> Self {
        Self {
            to_device: !self.holds_to_device && std::mem::take(&mut self.to_device),
            holds_to_device: false,
            limit: self.limit,
            ephemeral: std::mem::take(&mut self.ephemeral),
        }
    }

    fn put_back(&mut self, taken: Self) {
        self.to_device |= taken.to_device;
        self.holds_to_device |= taken.holds_to_device;
        self.limit = taken.limit.or(self.limit);
        taken.ephemeral.into_iter().rev().for_each(|edu| self.ephemeral.push_front(edu));
    }

    fn delivered(&mut self, remaining: Self) {
        self.limit = self.limit.and_then(|limit| widened(limit, MAX_PIECES));
        self.put_back(remaining);
    }

    fn drop_ephemeral(&mut self) {
        self.ephemeral.clear();
    }

    fn came_back(&mut self) {
        self.holds_to_device = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(key: &str) -> Ephemeral {
        Ephemeral::Typing { key: key.into(), content: "{}".into() }
    }

    #[test]
    fn the_limit_widens_with_every_transaction_that_is_accepted() {
        let mut extras = ServerExtras { to_device: true, ..ServerExtras::default() };
        extras.push_ephemeral(typing("a"));
        let taken = extras.take();
        assert!(taken.limit.is_none() && taken.to_device && !extras.is_durable());
        extras.put_back(ServerExtras { limit: Some(20), ..taken });
        let taken = extras.take();
        assert!(taken.limit == Some(20) && taken.to_device && taken.ephemeral.len() == 1);
        for limit in [Some(40), Some(80), None] {
            extras.delivered(ServerExtras { to_device: true, ..ServerExtras::default() });
            assert_eq!(extras.take().limit, limit);
        }
    }

    #[test]
    fn messages_that_are_held_back_are_not_due() {
        let mut extras = ServerExtras { to_device: true, ..ServerExtras::default() };
        let taken = extras.take();
        extras.put_back(ServerExtras { holds_to_device: true, ..taken });
        assert!(!extras.is_due() && extras.is_durable() && !extras.take().to_device);
        extras.push_ephemeral(typing("a"));
        assert!(extras.is_due());
        extras.came_back();
        assert!(extras.take().to_device);
    }

    #[test]
    fn a_newer_edu_replaces_an_older_one_about_the_same() {
        let mut extras = ServerExtras::default();
        ["a", "b", "a"].into_iter().for_each(|key| extras.push_ephemeral(typing(key)));
        assert_eq!(extras.ephemeral.iter().map(|edu| edu.key().1).collect::<Vec<_>>(), ["b", "a"]);
        (0..=MAX_EPHEMERAL).for_each(|key| extras.push_ephemeral(typing(&key.to_string())));
        assert_eq!(extras.ephemeral.len(), MAX_EPHEMERAL);
    }
}
