//! One transaction at a time to each server, to so many servers at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_net::FederationError;
use plexus_protocol::id::ServerName;
use plexus_store::{DbError, Tx, repo};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::FederationOut;
use super::batch::Batch;
use super::book::Turn;

/// To how many servers transactions are under way at the same time: each may take a connection.
const AT_ONCE: usize = 128;
/// When a server that refuses, or could not be served, without being left alone is tried again.
const PAUSE: Duration = Duration::from_secs(300);

/// Why a turn led to nothing.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Federation(#[from] FederationError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What became of each event of a transaction.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    pdus: BTreeMap<String, PduAnswer>,
}

#[derive(Deserialize)]
struct PduAnswer {
    error: Option<String>,
}

impl FederationOut {
    /// Gives every server its turns, without end.
    pub(super) async fn deliver(self: Arc<Self>) {
        let mut turns: JoinSet<Option<ServerName>> = JoinSet::new();
        let mut pauses: JoinSet<ServerName> = JoinSet::new();
        loop {
            while turns.len() < AT_ONCE
                && let Some(turn) = self.next_turn()
            {
                let this = Arc::clone(&self);
                turns.spawn(async move { this.take_turn(turn).await });
            }
            tokio::select! {
                () = self.ready.notified() => {}
                Some(done) = turns.join_next() => {
                    if let Ok(Some(refused)) = done {
                        let clock = self.parts.clock.clone();
                        pauses.spawn(async move { clock.sleep(PAUSE).await; refused });
                    }
                }
                Some(over) = pauses.join_next() => {
                    if let Ok(server) = over {
                        self.state().book.came_back(&server);
                    }
                }
                server = self.parts.transport.came_back() => self.state().book.came_back(&server),
            }
        }
    }

    fn next_turn(&self) -> Option<Turn> {
        self.state().book.next()
    }

    /// Sends one transaction. Answers the server if it is to be tried again after a pause.
    async fn take_turn(&self, turn: Turn) -> Option<ServerName> {
        let outcome = self.attempt(&turn).await;
        let (server, to_device) = (turn.server, turn.to_device);
        let paused = match outcome {
            Ok(batch) => {
                self.state().book.sent(&server, batch.cursor, batch.more_to_device, batch.unsent);
                None
            }
            Err(TurnError::Federation(FederationError::NotAllowed(_) | FederationError::OwnServer)) => {
                self.state().book.forget(&server);
                None
            }
            Err(error) => {
                tracing::info!("nothing could be delivered to {server}: {error}");
                self.state().book.failed(&server, to_device);
                (!self.parts.transport.is_backing_off(&server)).then_some(server)
            }
        };
        self.progressed.notify_one();
        paused
    }

    async fn attempt(&self, turn: &Turn) -> Result<Batch, TurnError> {
        let batch = self.batch(turn).await?;
        if !batch.is_empty() {
            let body = batch.body(self.parts.rooms.server_name().as_str(), self.parts.clock.now_ms());
            let answer = self.parts.transport.send(&turn.server, &batch.txn_id, body).await?;
            log_refusals(&turn.server, &answer);
        }
        if let Some(upto) = batch.to_device {
            let server = turn.server.to_string();
            let delete = move |tx: &mut Tx<'_>| repo::federation_out::delete_to_device(tx, &server, upto);
            self.parts.db.write(delete).await?;
        }
        Ok(batch)
    }
}

fn log_refusals(server: &ServerName, answer: &RawValue) {
    let Ok(answer) = serde_json::from_str::<Answer>(answer.get()) else { return };
    for (event, PduAnswer { error }) in answer.pdus {
        if let Some(error) = error {
            tracing::info!("{server} refuses {event}: {error}");
        }
    }
}
