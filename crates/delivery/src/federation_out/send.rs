//! Sends a server its next transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_net::FederationError;
use plexus_net::federation::api::transactions::send_transaction_message::TransactionUse;
use plexus_protocol::id::ServerName;
use plexus_store::repo::federation_out::ToDevice;
use plexus_store::{Database, DbError, Position, Tx, repo};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::LogContent;
use super::extras::ServerExtras;
use super::refusals::{Kind, MAX_TRIED_ALONE, Piece, Refusal, Refusals, narrowed};
use super::transaction::{MAX_TO_DEVICE, MAX_TO_DEVICE_BYTES, Transaction, readable};
use super::transport::Transport;
use crate::outbox::{Due, Outcome, Turn};

/// How long until a server that refuses, or could not be served, without being left alone is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(300);
/// How long the pieces that a server refuses may be looked for in one turn, which keeps a slot from other servers: as
/// long as one request may take by default.
const MAX_SEARCH_TIME: Duration = Duration::from_secs(60);

/// Sends transactions.
pub(super) struct TransactionSender {
    db: Database,
    clock: Clock,
    server_name: ServerName,
    transport: Arc<dyn Transport>,
    /// The pieces that servers have refused. Owned by the process that delivers; another one begins without them.
    refusals: Mutex<Refusals>,
    /// When this began, Unix ms: part of the ids of transactions that hold nothing durable.
    began_ms: u64,
    serial: AtomicU64,
}

/// What waits for a server. A transaction takes some of it, in this order; ephemeral EDUs come after it.
struct Waiting {
    /// The contents of the oldest messages to devices, with their positions.
    messages: Vec<(Position, String)>,
    /// Whether more messages wait.
    more_messages: bool,
    due: Due<LogContent>,
}

/// Why a transaction was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Federation(#[from] FederationError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The response to a transaction: the outcome of each event.
#[derive(Deserialize)]
struct TransactionResponse {
    #[serde(default)]
    pdus: BTreeMap<String, PduResult>,
}

#[derive(Deserialize)]
struct PduResult {
    error: Option<String>,
}

impl TransactionSender {
    pub(super) fn new(db: Database, clock: Clock, server_name: ServerName, transport: Arc<dyn Transport>) -> Self {
        let began_ms = clock.now_ms();
        Self { db, clock, server_name, transport, refusals: Mutex::default(), began_ms, serial: AtomicU64::new(0) }
    }

    /// This server's name.
    pub(super) fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// Sends one transaction with messages to devices, the content of the log that is due, and ephemeral EDUs.
    pub(super) async fn send(
        &self,
        turn: &Turn<ServerName, ServerExtras>,
        due: Due<LogContent>,
    ) -> Result<Outcome<ServerExtras>, SendError> {
        let server = &turn.key;
        let waiting = self.waiting(turn, due).await?;
        let transaction = self.build(turn, &waiting, 0, turn.extras.limit.unwrap_or(usize::MAX));
        if transaction.is_empty() {
            return self.conclude(server, transaction, &[]).await;
        }
        let Err(error) = self.transmit(server, &transaction, TransactionUse::Delivery).await else {
            if turn.extras.limit.is_none() {
                self.refusals.lock().forget_unclear(server);
            }
            self.refusals.lock().accepted(server, &transaction.pieces);
            return self.conclude(server, transaction, &[]).await;
        };
        match self.refusal(turn, &error) {
            None => Err(error.into()),
            Some(Refusal::Clear) => self.refused(turn, transaction, error).await,
            Some(Refusal::Unclear(_)) => self.unclearly_refused(turn, &waiting, transaction, error).await,
        }
    }

    /// Returns in what way the server refuses the content of a transaction, if the error means that.
    fn refusal(&self, turn: &Turn<ServerName, ServerExtras>, error: &FederationError) -> Option<Refusal> {
        let refusal = Refusal::of(error);
        let mut refusals = self.refusals.lock();
        match refusal {
            None => refusals.forget_unclear(&turn.key),
            Some(Refusal::Clear) => {}
            Some(Refusal::Unclear(status)) => {
                let is_enough = refusals.note_unclear(&turn.key, status);
                // While the piece is being found, the server accepts transactions in between.
                return refusal.filter(|_| is_enough || turn.extras.limit.is_some());
            }
        }
        refusal
    }

    /// A server refuses a transaction because of its content.
    async fn refused(
        &self,
        turn: &Turn<ServerName, ServerExtras>,
        transaction: Transaction,
        error: FederationError,
    ) -> Result<Outcome<ServerExtras>, SendError> {
        let server = &turn.key;
        // A server that refuses an empty transaction too refuses everything, and nothing is wrong with this one.
        self.transmit(server, &Transaction::empty(self.unique_txn_id()), TransactionUse::EmptyDelivery).await?;
        if let Some(limit) = narrowed(transaction.pieces.len()) {
            return Ok(repeat(ServerExtras { limit: Some(limit), ..turn.extras.clone() }));
        }
        match transaction.pieces.first().cloned() {
            Some(piece) if self.may_set_aside(server, &piece) => {
                self.conclude(server, transaction, &[(piece, error)]).await
            }
            Some(piece) if piece.kind() == Kind::ToDevice => Ok(hold_to_device(turn)),
            _ => Err(error.into()),
        }
    }

    /// A server may refuse a transaction because of its content. The first piece is set aside, and those after it that
    /// the server refuses too, if it then accepts one that [proves](Kind::is_proven_by) that it stores what it accepts.
    /// Messages to devices are held back otherwise if events wait behind them, which go on.
    async fn unclearly_refused(
        &self,
        turn: &Turn<ServerName, ServerExtras>,
        waiting: &Waiting,
        transaction: Transaction,
        error: FederationError,
    ) -> Result<Outcome<ServerExtras>, SendError> {
        let server = &turn.key;
        let began = self.clock.monotonic();
        let empty = Transaction::empty(self.unique_txn_id());
        if self.transmit(server, &empty, TransactionUse::Probe).await.is_err() {
            return Err(error.into());
        }
        if let Some(limit) = narrowed(transaction.pieces.len()) {
            self.transport.is_up(server);
            return Ok(repeat(ServerExtras { limit: Some(limit), ..turn.extras.clone() }));
        }
        let mut refused: Vec<(Piece, FederationError)> = Vec::new();
        let (mut transaction, mut error) = (transaction, error);
        while transaction.pieces.len() == 1
            && refused.len() < MAX_TRIED_ALONE
            && self.clock.monotonic().saturating_sub(began) < MAX_SEARCH_TIME
            && let Some(piece) = transaction.pieces.pop()
            && self.may_set_aside(server, &piece)
        {
            let kind = piece.kind();
            refused.push((piece, error.clone()));
            let Some(next) = self.next_proof(turn, waiting, refused.len(), kind) else {
                if kind == Kind::ToDevice && !waiting.due.entries.is_empty() {
                    self.transport.is_up(server);
                    return Ok(hold_to_device(turn));
                }
                break;
            };
            transaction = next;
            match self.transmit(server, &transaction, TransactionUse::Probe).await {
                Ok(()) => {
                    self.transport.is_up(server);
                    self.refusals.lock().accepted(server, &transaction.pieces);
                    return self.conclude(server, transaction, &refused).await;
                }
                Err(next) if Refusal::of(&next).is_none() => return Err(next.into()),
                Err(next) => error = next,
            }
        }
        Err(error.into())
    }

    /// Returns a transaction with the pieces after the first `skipped`, up to the first one that proves, if it is
    /// accepted, that one of a kind can be set aside; `None` if there is none, or it does not fit.
    fn next_proof(
        &self,
        turn: &Turn<ServerName, ServerExtras>,
        waiting: &Waiting,
        skipped: usize,
        kind: Kind,
    ) -> Option<Transaction> {
        let is_proof = |piece: &Piece| kind.is_proven_by(piece.kind());
        let next = self.build(turn, waiting, skipped, 1);
        if next.pieces.first().is_some_and(is_proof) {
            return Some(next);
        }
        let before = self.build(turn, waiting, skipped, usize::MAX).pieces.iter().position(is_proof)?;
        Some(self.build(turn, waiting, skipped, before + 1))
    }

    /// Notes that a server has the content of a transaction, except for the pieces that are set aside.
    async fn conclude(
        &self,
        server: &ServerName,
        transaction: Transaction,
        set_aside: &[(Piece, FederationError)],
    ) -> Result<Outcome<ServerExtras>, SendError> {
        for (piece, error) in set_aside {
            piece.log_set_aside(server, error);
        }
        if let Some(upto) = transaction.to_device {
            let server = server.to_string();
            let delete = move |tx: &mut Tx<'_>| repo::federation_out::delete_to_device(tx, &server, upto);
            self.db.write::<_, DbError, _>(delete).await?;
        }
        let now_ms = self.clock.now_ms();
        for (piece, _) in set_aside {
            self.refusals.lock().set_aside(server, piece.kind(), now_ms);
        }
        let Transaction { cursor, more_to_device: to_device, unsent, .. } = transaction;
        let remaining = ServerExtras { to_device, ephemeral: unsent.into(), ..ServerExtras::default() };
        Ok(Outcome::Delivered { cursor, remaining })
    }

    /// Returns what waits for a server.
    async fn waiting(&self, turn: &Turn<ServerName, ServerExtras>, due: Due<LogContent>) -> Result<Waiting, DbError> {
        let (messages, more_messages) = self.messages(turn, MAX_TO_DEVICE).await?;
        Ok(Waiting { messages, more_messages, due })
    }

    /// Returns a transaction with at most `max_pieces`, after the first `skipped`.
    fn build(
        &self,
        turn: &Turn<ServerName, ServerExtras>,
        waiting: &Waiting,
        skipped: usize,
        max_pieces: usize,
    ) -> Transaction {
        let Waiting { messages, more_messages, due } = waiting;
        let mut transaction = Transaction::empty(String::new());
        let (skipped_messages, messages) = messages.split_at(messages.len().min(skipped));
        let (messages, later) = messages.split_at(messages.len().min(max_pieces));
        transaction.to_device = skipped_messages.last().map(|(position, _)| *position);
        transaction.push_messages(messages);
        transaction.more_to_device = *more_messages || !later.is_empty();
        let skipped = skipped - skipped_messages.len();
        let (skipped_entries, entries) = due.entries.split_at(due.entries.len().min(skipped));
        transaction.cursor = due.upto;
        let cursor = skipped_entries.last().map_or(turn.cursor, |(position, _)| *position);
        transaction.push_log(entries, cursor, max_pieces);
        let is_durable = !transaction.is_empty();
        let ephemeral = turn.extras.ephemeral.iter().skip(skipped - skipped_entries.len());
        transaction.push_ephemeral(ephemeral.cloned().collect(), max_pieces);
        transaction.txn_id = if is_durable { transaction.content_id() } else { self.unique_txn_id() };
        transaction
    }

    /// Returns the contents of the oldest `limit` messages to devices, with their positions, and whether there are
    /// more.
    async fn messages(
        &self,
        turn: &Turn<ServerName, ServerExtras>,
        limit: usize,
    ) -> Result<(Vec<(Position, String)>, bool), DbError> {
        if !turn.extras.to_device {
            return Ok((Vec::new(), false));
        }
        let server = turn.key.to_string();
        let read = move |tx: &mut Tx<'_>| {
            repo::federation_out::to_device(tx, &server, limit as u64, MAX_TO_DEVICE_BYTES as u64)
        };
        let (rows, more): (Vec<ToDevice>, bool) = self.db.read(read).await?;
        let mut messages = Vec::with_capacity(rows.len());
        for ToDevice { position, content } in rows {
            match readable(content) {
                Ok(content) => messages.push((position, content)),
                Err((reason, bytes)) => {
                    Piece::ToDevice { position, bytes }.log_set_aside(&turn.key, &reason);
                    self.delete_message(&turn.key, position).await?;
                }
            }
        }
        Ok((messages, more))
    }

    async fn delete_message(&self, server: &ServerName, position: Position) -> Result<(), DbError> {
        let server = server.to_string();
        let delete = move |tx: &mut Tx<'_>| repo::federation_out::delete_one_to_device(tx, &server, position);
        self.db.write(delete).await
    }

    async fn transmit(
        &self,
        server: &ServerName,
        transaction: &Transaction,
        used_as: TransactionUse,
    ) -> Result<(), FederationError> {
        let body = transaction.body(self.server_name.as_str(), self.clock.now_ms());
        let response = self.transport.send(server, &transaction.txn_id, body, used_as).await?;
        log_refusals(server, &response);
        Ok(())
    }

    fn may_set_aside(&self, server: &ServerName, piece: &Piece) -> bool {
        self.refusals.lock().may_set_aside(server, piece.kind(), self.clock.now_ms())
    }

    /// Returns an id for a transaction that is not sent again if it fails.
    fn unique_txn_id(&self) -> String {
        format!("{}-{}", self.began_ms, self.serial.fetch_add(1, Ordering::Relaxed))
    }
}

fn repeat(extras: ServerExtras) -> Outcome<ServerExtras> {
    Outcome::Repeat { extras, pause: None }
}

fn hold_to_device(turn: &Turn<ServerName, ServerExtras>) -> Outcome<ServerExtras> {
    let (server, seconds) = (&turn.key, RETRY_AFTER.as_secs());
    tracing::warn!("{server} refuses messages to devices: all wait for {seconds} s");
    let extras = ServerExtras { holds_to_device: true, ..turn.extras.clone() };
    Outcome::Repeat { extras, pause: Some(RETRY_AFTER) }
}

fn log_refusals(server: &ServerName, response: &RawValue) {
    let Ok(response) = serde_json::from_str::<TransactionResponse>(response.get()) else { return };
    for (event, PduResult { error }) in response.pdus {
        if let Some(error) = error {
            tracing::info!("{server} refuses {event}: {error}");
        }
    }
}
