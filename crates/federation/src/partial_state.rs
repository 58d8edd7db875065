//! Asks other servers for the state that is missing from rooms this server came into with part of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::background::{catch_panic, panic_message};
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_rooms::model::partial_state::{servers_with_state, unfinished};
use plexus_rooms::model::room::Room;
use plexus_rooms::model::stored_events;
use plexus_rooms::write::graph::AddError;
use plexus_rooms::write::partial_state;
use plexus_store::{DbError, RoomNid, repo};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::receive::{Deadline, PduReceiver, ReceiveError, ReceiveStateError};

/// How many rooms are filled at a time.
const ROOMS_AT_ONCE: usize = 4;
/// How long to wait when nobody could give a room's state: twice as long each time.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Fills rooms. A server has one.
pub struct PartialStateResync {
    receiver: Arc<PduReceiver>,
    permits: Semaphore,
}

/// Why a room's state did not come from a server.
#[derive(Debug, thiserror::Error)]
enum ResyncError {
    #[error(transparent)]
    TakeIn(#[from] ReceiveStateError),
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Add(#[from] AddError),
}

impl PartialStateResync {
    /// A filler of the rooms that `receiver` takes events into.
    #[must_use]
    pub fn new(receiver: Arc<PduReceiver>) -> Self {
        Self { receiver, permits: Semaphore::new(ROOMS_AT_ONCE) }
    }

    /// Fills rooms, without end: first those that a former run of the program left.
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
                        let filler = Arc::clone(&self);
                        running.spawn(async move {
                            filler.fill(nid).await;
                            nid
                        });
                    }
                }
                Err(DbError::Closed) => return,
                Err(error) => tracing::warn!("rooms whose state is missing wait: {error}"),
            }
            loop {
                tokio::select! {
                    () = &mut more => break,
                    Some(done) = running.join_next() => match done {
                        Ok(nid) => {
                            busy.remove(&nid);
                            // Somebody may have come into it anew just now.
                            if rooms.loaded(nid).is_some_and(|room| is_missing_state(&room)) {
                                break;
                            }
                        }
                        Err(error) => tracing::error!("filling a room's state ended: {error}"),
                    },
                }
            }
        }
    }

    /// Tries until the room's state is full, or nobody of this server is in the room any more.
    async fn fill(&self, nid: RoomNid) {
        let rooms = &self.receiver.rooms;
        let mut pause = FIRST_PAUSE;
        loop {
            match catch_panic(self.try_to_fill(nid)).await {
                Ok(Ok(true) | Err(DbError::Closed)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(room = nid, "a room's state cannot be filled: {error}"),
                Err(panic) => {
                    let message = panic_message(&*panic);
                    tracing::error!(room = nid, "a bug: the resync of a room's state panicked: {message}");
                }
            }
            rooms.clock.sleep(SHORTEST_PAUSE).await;
            // A server of the room that asks for something or tells something may well have the state.
            let wanted = async {
                match rooms.loaded(nid) {
                    Some(room) => room.wanted.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wanted => {}
                () = rooms.clock.sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
            }
        }
    }

    /// Asks one server after the other; `true` when there is no more to do.
    async fn try_to_fill(&self, nid: RoomNid) -> Result<bool, DbError> {
        // Nobody closes the semaphore.
        let _permit = self.permits.acquire().await;
        let rooms = &self.receiver.rooms;
        let Some(room) = rooms.get_nid(nid).await? else { return Ok(true) };
        let Some(join) = unfinished(&room.view()).filter(|_| is_missing_state(&room)) else { return Ok(true) };
        let (nid, version) = (join.event_nid, room.version);
        let Some(event) = rooms.db.read(move |tx| stored_events::by_nids(tx, version, &[nid])).await?.pop() else {
            return Ok(true);
        };
        for server in servers_with_state(&join, &room.view(), rooms.server_name()) {
            match self.fill_from(&server, &room, &event.pdu).await {
                Ok(()) => {
                    tracing::info!(room = %room.id, "all of the room's state is here, from {server}");
                    return Ok(true);
                }
                Err(
                    ResyncError::TakeIn(ReceiveStateError::Db(error))
                    | ResyncError::Receive(ReceiveError::Db(error))
                    | ResyncError::Add(AddError::Db(error)),
                ) => {
                    return Err(error);
                }
                Err(error) => tracing::info!(room = %room.id, "{server} did not give the room's state: {error}"),
            }
        }
        tracing::warn!(room = %room.id, "no server gives the room's state; events of others wait until one does");
        Ok(false)
    }

    /// Asks a server for the state before the join. One that does not have the join may tell the state behind the
    /// events that the join follows.
    async fn fill_from(&self, server: &ServerName, room: &Arc<Room>, join: &Pdu) -> Result<(), ResyncError> {
        let receiver = &self.receiver;
        let state = match receiver.peers.state(server, &room.id, join.event_id()).await {
            Ok(mut parts) => receiver.receive_state(room, &mut *parts).await?.state,
            Err(error) if error.status().is_some() => {
                tracing::info!(room = %room.id, "{error}");
                receiver
                    .state_after(server, room, join.prev_events(), &Deadline::of_queue(&receiver.writer.clock))
                    .await?
            }
            Err(error) => return Err(ReceiveStateError::from(error).into()),
        };
        partial_state::add_state(&receiver.writer, room, &state, true).await?;
        Ok(())
    }
}

/// Whether somebody of this server is in the room, and part of its state is missing.
fn is_missing_state(room: &Room) -> bool {
    let view = room.view();
    view.is_partial() && !view.local_joined.is_empty()
}
