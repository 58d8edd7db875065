//! One transaction at a time to each server, to so many servers at once.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use plexus_net::{CameBack, FederationError};
use plexus_protocol::id::ServerName;
use plexus_store::{DbError, Tx, repo};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::FederationOut;
use super::batch::Batch;
use super::book::{Lane, Turn};
use super::refusals::{Kind, Piece, is_about_content, narrowed};

/// To how many servers transactions are under way at the same time: each may take a connection. The rest of the connections is
/// for those who wait for another server to answer.
const PROMPT_AT_ONCE: u32 = 128;
const SLOW_AT_ONCE: u32 = 256;
/// How long a server may take to answer before it is one of the slow.
const PROMPT: Duration = Duration::from_secs(2);
/// When a server that refuses, or could not be served, without being left alone is tried again.
const PAUSE: Duration = Duration::from_secs(300);

/// How many turns may be under way. A server that keeps us waiting has its turns among the slow, so that any number of dead
/// servers leaves places for the living.
pub(super) struct Lanes {
    prompt: Arc<Semaphore>,
    prompt_places: u32,
    slow: Arc<Semaphore>,
}

impl Lanes {
    /// Lanes for somebody who may use part of so many connections.
    pub fn new(connections: usize) -> Self {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let prompt_places = (connections / 2).clamp(1, PROMPT_AT_ONCE);
        let slow_places = (connections / 4).clamp(1, SLOW_AT_ONCE);
        let places = |count: u32| Arc::new(Semaphore::new(count as usize));
        Self { prompt: places(prompt_places), prompt_places, slow: places(slow_places) }
    }

    /// A place for one more turn, if there is one.
    fn place(&self, lane: Lane) -> Option<OwnedSemaphorePermit> {
        let places = match lane {
            Lane::Prompt => &self.prompt,
            Lane::Slow => &self.slow,
        };
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// Waits for the turns of the prompt, if no more begin. Who takes longer than they may is waited for no longer.
    pub async fn finish_prompt(&self) {
        let over = self.prompt.acquire_many(self.prompt_places);
        // Whether all of them are over or time is, there is nothing else to do.
        drop(tokio::time::timeout(PROMPT, over).await);
    }
}

/// What a turn came to.
enum Outcome {
    /// The server has what is in the transaction, or what it refused is set aside.
    Done { batch: Batch, set_aside: bool },
    /// The server refuses something in the transaction. The next one has at most so many pieces.
    TooMuch(usize),
    /// The server refuses a message to devices, and has refused too many to set aside one more.
    HoldToDevice,
}

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
            for lane in [Lane::Prompt, Lane::Slow] {
                while let Some(place) = self.lanes.place(lane)
                    && let Some(turn) = self.next_turn(lane)
                {
                    let this = Arc::clone(&self);
                    turns.spawn(async move { this.take_turn(turn, lane, place).await });
                }
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
                        self.state.lock().book.came_back(&CameBack { server, is_up: false });
                    }
                }
                came_back = self.parts.transport.came_back() => self.state.lock().book.came_back(&came_back),
            }
        }
    }

    fn next_turn(&self, lane: Lane) -> Option<Turn> {
        let mut state = self.state.lock();
        if state.stopping { None } else { state.book.next(lane) }
    }

    /// Sends one transaction. Returns the server if it is to be tried again after a pause.
    async fn take_turn(&self, turn: Turn, lane: Lane, mut place: OwnedSemaphorePermit) -> Option<ServerName> {
        let outcome = {
            let attempt = std::pin::pin!(self.attempt(&turn));
            match lane {
                Lane::Prompt => self.promptly(attempt, &mut place).await,
                Lane::Slow => Some(attempt.await),
            }
        };
        let Some(outcome) = outcome else {
            self.state.lock().book.gave_way(turn);
            return None;
        };
        let paused = self.conclude(turn, outcome);
        self.progressed.notify_one();
        paused
    }

    /// Takes note of what a turn came to. Returns the server if it is to be tried again after a pause.
    fn conclude(&self, turn: Turn, outcome: Result<Outcome, TurnError>) -> Option<ServerName> {
        let server = turn.server.clone();
        let mut state = self.state.lock();
        match outcome {
            Ok(Outcome::Done { batch, set_aside }) => {
                match batch.pieces.first() {
                    Some(piece) if set_aside => {
                        state.book.refusals.set_aside(&server, piece.kind(), self.parts.clock.now_ms());
                    }
                    _ => state.book.refusals.accepted(&server, &batch.pieces),
                }
                state.book.sent(&server, batch.cursor, batch.more_to_device, batch.unsent);
                None
            }
            Ok(Outcome::TooMuch(limit)) => {
                state.book.narrow(turn, limit);
                None
            }
            Ok(Outcome::HoldToDevice) => {
                let seconds = PAUSE.as_secs();
                tracing::warn!("{server} refuses one message to devices after the other: all wait for {seconds} s");
                state.book.hold_to_device(turn);
                Some(server)
            }
            Err(TurnError::Federation(FederationError::NotAllowed(_) | FederationError::OwnServer)) => {
                state.book.forget(&server);
                None
            }
            Err(error) => {
                let transport = &self.parts.transport;
                let is_retried = transport.will_be_retried(&server);
                let is_back = state.book.failed(turn, is_retried);
                drop(state);
                // It was logged when it was decided that the server is left alone.
                let will_come_back = is_back || is_retried || transport.backing_off_until(&server).is_some();
                if !will_come_back {
                    tracing::info!("nothing could be delivered to {server}: {error}");
                }
                (!will_come_back).then_some(server)
            }
        }
    }

    /// What a turn comes to that began among the prompt. If it takes long it goes on among the slow; when there are too many of
    /// them, and others wait, it is given up for now (`None`).
    async fn promptly<T>(
        &self,
        mut attempt: Pin<&mut impl Future<Output = T>>,
        place: &mut OwnedSemaphorePermit,
    ) -> Option<T> {
        loop {
            tokio::select! {
                outcome = &mut attempt => return Some(outcome),
                () = self.parts.clock.sleep(PROMPT) => {}
            }
            if let Some(among_the_slow) = self.lanes.place(Lane::Slow) {
                *place = among_the_slow;
                self.ready.notify_one();
                return Some(attempt.await);
            }
            if self.state.lock().book.prompt_ones_wait() {
                return None;
            }
        }
    }

    async fn attempt(&self, turn: &Turn) -> Result<Outcome, TurnError> {
        let server = &turn.server;
        if let Some(until_ms) = self.parts.transport.backing_off_until(server) {
            return Err(FederationError::BackingOff { destination: server.clone(), until_ms }.into());
        }
        let batch = self.batch(turn).await?;
        let mut set_aside = false;
        if !batch.is_empty()
            && let Err(error) = self.transmit(server, &batch).await
        {
            if !is_about_content(&error) {
                return Err(error.into());
            }
            // Who refuses an empty transaction too refuses everything, and nothing is wrong with what is in this one.
            if let Err(everything) = self.transmit(server, &self.empty_batch()).await {
                return Err(everything.into());
            }
            if let Some(limit) = narrowed(batch.pieces.len()) {
                return Ok(Outcome::TooMuch(limit));
            }
            match batch.pieces.first() {
                Some(piece) if self.may_set_aside(server, piece) => piece.log_set_aside(server, &error),
                Some(piece) if piece.kind() == Kind::ToDevice => return Ok(Outcome::HoldToDevice),
                _ => return Err(error.into()),
            }
            set_aside = true;
        }
        if let Some(upto) = batch.to_device {
            let server = server.to_string();
            let delete = move |tx: &mut Tx<'_>| repo::federation_out::delete_to_device(tx, &server, upto);
            self.parts.db.write(delete).await?;
        }
        Ok(Outcome::Done { batch, set_aside })
    }

    async fn transmit(&self, server: &ServerName, batch: &Batch) -> Result<(), FederationError> {
        let body = batch.body(self.parts.rooms.server_name().as_str(), self.parts.clock.now_ms());
        let answer = self.parts.transport.send(server, &batch.txn_id, body, batch.pieces.is_empty()).await?;
        log_refusals(server, &answer);
        Ok(())
    }

    fn may_set_aside(&self, server: &ServerName, piece: &Piece) -> bool {
        self.state.lock().book.refusals.may_set_aside(server, piece.kind(), self.parts.clock.now_ms())
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
