//! Fetches the state that is missing from rooms which this server joined with partial state.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::background::{catch_panic, panic_message};
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_rooms::AddError;
use plexus_rooms::model::partial_state::{incomplete_join, servers_with_state};
use plexus_rooms::model::room::Room;
use plexus_rooms::model::stored_events;
use plexus_rooms::write::partial_state;
use plexus_store::{DbError, RoomNid, repo};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::receive::{
    Deadline, PduReceiver, ReceiveError, ReceiveStateError, RemoteSource, receive_state, state_after,
};

/// How many rooms are resynced at once.
const MAX_ROOMS: usize = 4;
/// How long to wait after no server has returned a room's state; doubled each time. A request to resync ends the wait,
/// but not before `MIN_PAUSE`.
const MIN_PAUSE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const MAX_PAUSE: Duration = Duration::from_secs(3_600);

/// Completes the state of rooms. There is one per server.
pub struct PartialStateResync {
    receiver: Arc<PduReceiver>,
    permits: Semaphore,
}

/// Why a room's state could not be completed from a server.
#[derive(Debug, thiserror::Error)]
enum ResyncError {
    #[error(transparent)]
    State(#[from] ReceiveStateError),
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Add(#[from] AddError),
}

impl PartialStateResync {
    /// Returns a resync of the rooms of `receiver`.
    #[must_use]
    pub fn new(receiver: Arc<PduReceiver>) -> Self {
        Self { receiver, permits: Semaphore::new(MAX_ROOMS) }
    }

    /// Completes the state of rooms until the database is closed, beginning with rooms left by an earlier run.
    pub async fn run(self: Arc<Self>) {
        let rooms = &self.receiver.rooms;
        let mut running: JoinSet<RoomNid> = JoinSet::new();
        let mut busy: HashSet<RoomNid> = HashSet::new();
        loop {
            let more = self.receiver.joined_partially.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            match rooms.db.read(repo::partial_joins::unfinished).await {
                Ok(found) => {
                    for nid in found.into_iter().filter(|nid| busy.insert(*nid)).collect::<Vec<_>>() {
                        let resync = Arc::clone(&self);
                        running.spawn(async move {
                            resync.complete(nid).await;
                            nid
                        });
                    }
                }
                Err(DbError::Closed) => return,
                Err(error) => tracing::warn!("rooms with partial state cannot be listed: {error}"),
            }
            loop {
                tokio::select! {
                    () = &mut more => break,
                    Some(done) = running.join_next() => match done {
                        Ok(nid) => {
                            busy.remove(&nid);
                            // A user may have joined it again just now.
                            if rooms.loaded(nid).is_some_and(|room| is_missing_state(&room)) {
                                break;
                            }
                        }
                        Err(error) => tracing::error!("the resync of a room's state ended: {error}"),
                    },
                }
            }
        }
    }

    /// Retries until the room's state is complete, or no user of this server is in the room any more.
    async fn complete(&self, nid: RoomNid) {
        let rooms = &self.receiver.rooms;
        let mut pause = FIRST_PAUSE;
        loop {
            match catch_panic(self.try_to_complete(nid)).await {
                Ok(Ok(true) | Err(DbError::Closed)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(room = nid, "a room's state cannot be completed: {error}"),
                Err(panic) => {
                    let message = panic_message(&*panic);
                    tracing::error!(room = nid, "a bug: the resync of a room's state panicked: {message}");
                }
            }
            rooms.clock.sleep(MIN_PAUSE).await;
            // A server in the room that has just sent a request probably has the state.
            let wanted = async {
                match rooms.loaded(nid) {
                    Some(room) => room.state_requested.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wanted => {}
                () = rooms.clock.sleep(pause) => pause = MAX_PAUSE.min(pause * 2),
            }
        }
    }

    /// Asks one server after the other. Returns `true` when there is nothing more to do.
    async fn try_to_complete(&self, nid: RoomNid) -> Result<bool, DbError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let rooms = &self.receiver.rooms;
        let Some(room) = rooms.get_nid(nid).await? else { return Ok(true) };
        let Some(join) = incomplete_join(&room.view()).filter(|_| is_missing_state(&room)) else { return Ok(true) };
        let (nid, version) = (join.event_nid, room.version);
        let Some(event) = rooms.db.read(move |tx| stored_events::by_nids(tx, version, &[nid])).await?.pop() else {
            return Ok(true);
        };
        for server in servers_with_state(&join, &room.view(), rooms.server_name()) {
            match self.complete_from(&server, &room, &event.pdu).await {
                Ok(()) => {
                    tracing::info!(room = %room.id, "the room's state is complete, from {server}");
                    return Ok(true);
                }
                Err(
                    ResyncError::State(ReceiveStateError::Db(error))
                    | ResyncError::Receive(ReceiveError::Db(error))
                    | ResyncError::Add(AddError::Db(error)),
                ) => {
                    return Err(error);
                }
                Err(error) => tracing::info!(room = %room.id, "{server} did not return the room's state: {error}"),
            }
        }
        tracing::warn!(room = %room.id, "no server returned the room's state; its events stay staged until one does");
        Ok(false)
    }

    /// Fetches the state before the join. A server that does not have the join may return the state after the join's
    /// prev events.
    async fn complete_from(&self, server: &ServerName, room: &Arc<Room>, join: &Pdu) -> Result<(), ResyncError> {
        let receiver = &self.receiver;
        let state = match receiver.peers.state(server, &room.id, join.event_id()).await {
            Ok(mut parts) => receive_state(receiver, room, &mut *parts).await?.state,
            Err(error) if error.status().is_some() => {
                tracing::info!(room = %room.id, "{error}");
                let deadline = &Deadline::of_queue(&receiver.clock);
                state_after(&RemoteSource { receiver, room, server, deadline }, join.prev_events()).await?
            }
            Err(error) => return Err(ReceiveStateError::from(error).into()),
        };
        partial_state::add_state(&receiver.writer, room, &state, true).await?;
        Ok(())
    }
}

/// Whether a user of this server is in the room, and part of its state is missing.
fn is_missing_state(room: &Room) -> bool {
    let view = room.view();
    view.is_partial() && !view.local_joined.is_empty()
}
