//! Other servers as destinations of an outbox.

use std::error::Error;
use std::sync::Arc;

use plexus_net::FederationError;
use plexus_protocol::id::ServerName;
use plexus_store::{Database, DbError, Position, Tx, repo};

use super::content::{LogContent, LogRecipients};
use super::ephemeral::{Ephemeral, MAX_PIECE_BYTES};
use super::extras::ServerExtras;
use super::log::LogReader;
use super::send::{RETRY_AFTER, SendError, TransactionSender};
use super::transaction::MAX_PIECES;
use super::transport::Transport;
use crate::outbox::{
    Behind, CameBack, Cursors, DestinationKind, Due, LogChunk, Outbox, Outcome, Progress, Retry, SlotLimits, Turn,
};

/// The most transactions that are under way at the same time: each may take a connection. The other connections are for
/// requests of users.
const MAX_FAST_TRANSACTIONS: u32 = 128;
const MAX_SLOW_TRANSACTIONS: u32 = 256;
/// A server that is further behind than this many events gets only the newest event of each room.
const MAX_LOG_EVENTS: u64 = 1_000_000;

/// Other servers.
pub(super) struct OtherServers {
    db: Database,
    log: LogReader,
    transactions: TransactionSender,
    transport: Arc<dyn Transport>,
}

/// Returns the slots for transactions of a server that may have so many connections.
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
    pub(super) fn new(
        db: Database,
        log: LogReader,
        transactions: TransactionSender,
        transport: Arc<dyn Transport>,
    ) -> Self {
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
            Some(Behind { away: self.transport.is_failing(&key), key, cursor, stored: Some(cursor) })
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
