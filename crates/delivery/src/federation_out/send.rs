//! Sends a server its next transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_net::FederationError;
use plexus_protocol::id::ServerName;
use plexus_store::repo::federation_out::ToDevice;
use plexus_store::{Database, DbError, Position, Tx, repo};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::LogContent;
use super::extras::ServerExtras;
use super::refusals::{Kind, Piece, Refusals, is_about_content, narrowed};
use super::transaction::{MAX_TO_DEVICE, MAX_TO_DEVICE_BYTES, Transaction, readable};
use super::transport::Transport;
use crate::outbox::{Due, Outcome, Turn};

/// How long until a server that refuses, or could not be served, without being left alone is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(300);

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
        let mut transaction = self.build(turn, due).await?;
        let mut set_aside = false;
        if !transaction.is_empty()
            && let Err(error) = self.transmit(server, &transaction).await
        {
            if !is_about_content(&error) {
                return Err(error.into());
            }
            // A server that refuses an empty transaction too refuses everything, and nothing is wrong with this one.
            self.transmit(server, &Transaction::empty(self.unique_txn_id())).await?;
            if let Some(limit) = narrowed(transaction.pieces.len()) {
                return Ok(repeat(ServerExtras { limit: Some(limit), ..turn.extras.clone() }));
            }
            match transaction.pieces.first() {
                Some(piece) if self.may_set_aside(server, piece) => piece.log_set_aside(server, &error),
                Some(piece) if piece.kind() == Kind::ToDevice => return Ok(hold_to_device(turn)),
                _ => return Err(error.into()),
            }
            set_aside = true;
        }
        if let Some(upto) = transaction.to_device {
            let server = server.to_string();
            let delete = move |tx: &mut Tx<'_>| repo::federation_out::delete_to_device(tx, &server, upto);
            self.db.write::<_, DbError, _>(delete).await?;
        }
        match transaction.pieces.first() {
            Some(piece) if set_aside => {
                self.refusals.lock().set_aside(server, piece.kind(), self.clock.now_ms());
            }
            _ => self.refusals.lock().accepted(server, &transaction.pieces),
        }
        let ephemeral = std::mem::take(&mut transaction.unsent).into();
        let remaining = ServerExtras { to_device: transaction.more_to_device, ephemeral, ..ServerExtras::default() };
        Ok(Outcome::Delivered { cursor: transaction.cursor, remaining })
    }

    async fn build(&self, turn: &Turn<ServerName, ServerExtras>, due: Due<LogContent>) -> Result<Transaction, DbError> {
        let max_pieces = turn.extras.limit.unwrap_or(usize::MAX);
        let (messages, more_to_device) = self.messages(turn, MAX_TO_DEVICE.min(max_pieces)).await?;
        let mut transaction = Transaction::empty(String::new());
        transaction.cursor = due.upto;
        transaction.more_to_device = more_to_device;
        transaction.push_messages(messages);
        transaction.push_log(due.entries, turn.cursor, max_pieces);
        let is_durable = !transaction.is_empty();
        transaction.push_ephemeral(turn.extras.ephemeral.iter().cloned().collect(), max_pieces);
        transaction.txn_id = if is_durable { transaction.content_id() } else { self.unique_txn_id() };
        Ok(transaction)
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

    async fn transmit(&self, server: &ServerName, transaction: &Transaction) -> Result<(), FederationError> {
        let body = transaction.body(self.server_name.as_str(), self.clock.now_ms());
        let is_empty = transaction.pieces.is_empty();
        let response = self.transport.send(server, &transaction.txn_id, body, is_empty).await?;
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
    tracing::warn!("{server} refuses one message to devices after the other: all wait for {seconds} s");
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
