//! One lane a room: its staged events are placed in the order they came in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::repo::received::Staged;
use plexus_store::{DbError, RoomNid, event_key, repo};
use tokio::sync::{Notify, Semaphore};

use super::Inbox;
use crate::receive::ReceiveError;
use crate::room::Room;

/// How many rooms are worked on at a time. Most of a lane's time it waits: for the database, or for another server.
const ROOMS_AT_ONCE: usize = 64;
/// How many events of a room are taken at a time.
const EVENTS_AT_ONCE: u32 = 50;

pub(super) struct Lanes {
    /// Rooms that are worked on; `true` when more was staged since the lane last looked.
    busy: Mutex<HashMap<RoomNid, bool>>,
    ended: Notify,
    permits: Semaphore,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { busy: Mutex::default(), ended: Notify::new(), permits: Semaphore::new(ROOMS_AT_ONCE) }
    }
}

impl Lanes {
    fn busy(&self) -> MutexGuard<'_, HashMap<RoomNid, bool>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// Sees to it that a room's staged events are placed.
    pub(super) fn wake(self: &Arc<Self>, room: RoomNid) {
        if self.lanes.busy().insert(room, true).is_none() {
            tokio::spawn(Arc::clone(self).run(room));
        }
    }

    /// Waits until everything staged so far has been placed or refused.
    pub async fn drained(&self) {
        loop {
            let ended = self.lanes.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.lanes.busy().is_empty() {
                return;
            }
            ended.await;
        }
    }

    async fn run(self: Arc<Self>, room: RoomNid) {
        let mut end = End { inbox: &self, room, listed: true };
        let Ok(_permit) = self.lanes.permits.acquire().await else { return };
        loop {
            if let Some(more) = self.lanes.busy().get_mut(&room) {
                *more = false;
            }
            match self.place_some(room).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(ReceiveError::Db(DbError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(room, "staged events wait until more come in: {error}");
                    return;
                }
            }
            let mut busy = self.lanes.busy();
            if busy.get(&room) == Some(&false) {
                busy.remove(&room);
                end.listed = false;
                return;
            }
        }
    }

    /// Places the next events of a room; `false` when there are none.
    async fn place_some(&self, nid: RoomNid) -> Result<bool, ReceiveError> {
        let rooms = &self.receiver.rooms;
        let staged = rooms.db.read(move |tx| repo::received::staged(tx, nid, EVENTS_AT_ONCE)).await?;
        let Some(first) = staged.first() else { return Ok(false) };
        let origin = first.origin.clone();
        let of_one: Vec<Staged> = staged.into_iter().take_while(|event| event.origin == origin).collect();
        let done: Vec<i64> = of_one.iter().map(|event| event.staged_nid).collect();
        if let (Some(room), Ok(origin)) = (rooms.get_nid(nid).await?, ServerName::try_from(origin)) {
            let pdus = of_one.iter().filter_map(|event| parse(&room, event)).collect();
            let outcomes = self.receiver.process(&origin, &room, pdus).await?;
            log(&room, &outcomes);
        }
        rooms.db.write(move |tx| repo::received::unstage(tx, &done)).await?;
        Ok(true)
    }
}

fn parse(room: &Room, event: &Staged) -> Option<Pdu> {
    let event_id = event_key::decode(&event.event_id, room.version).ok()?;
    match Pdu::from_stored(&event.json, event_id, room.version) {
        Ok(pdu) => Some(pdu),
        Err(error) => {
            tracing::error!("staged_pdus, staged_nid {}: {error}", event.staged_nid);
            None
        }
    }
}

fn log(room: &Room, outcomes: &[(EventId, Result<crate::receive::Accepted, ReceiveError>)]) {
    for (id, outcome) in outcomes {
        if let Err(error) = outcome {
            tracing::info!(event = %id, room = %room.id, "dropped: {error}");
        }
    }
}

/// Takes a lane off the list however it ends.
struct End<'a> {
    inbox: &'a Inbox,
    room: RoomNid,
    listed: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if self.listed {
            self.inbox.lanes.busy().remove(&self.room);
        }
        self.inbox.lanes.ended.notify_waiters();
    }
}
