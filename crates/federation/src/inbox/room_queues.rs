//! The queue of each room. Staged events are added in the order in which they were received, as long as their prev
//! events and auth events are here: a room's queue never waits for another server. Events that need one go on in the
//! queue of their origin in the room (`origin_queues`), so that an unresponsive server holds up only its own events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use plexus_net::Gates;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_rooms::model::room::Room;
use plexus_store::repo::received::Staged;
use plexus_store::{DbError, RoomNid, repo};
use tokio::sync::{Notify, Semaphore};

use super::staged::parse;
use super::{Inbox, admit};
use crate::receive::ReceiveError;

/// How many rooms are processed at once.
const MAX_ROOMS: usize = 64;
/// How many queues of origins are processed at once. Most of the time they wait for the origin.
const MAX_ORIGIN_QUEUES: usize = 64;
/// How many queues of one origin, each of another room, are processed at once.
const MAX_QUEUES_PER_ORIGIN: usize = 4;
/// How many staged events are read and added at a time.
pub(super) const BATCH_SIZE: u32 = 50;

/// The queues that are being processed. In memory only, owned by the inbox.
pub(super) struct Queues {
    state: Mutex<Busy>,
    ended: Notify,
    permits: Semaphore,
    pub(super) origin_permits: Semaphore,
    pub(super) per_origin: Gates,
}

/// The queues that are being processed. A queue is `true` if events were staged since it last read them.
#[derive(Default)]
pub(super) struct Busy {
    rooms: HashMap<RoomNid, bool>,
    pub(super) origins: HashMap<RoomNid, HashMap<String, bool>>,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            ended: Notify::new(),
            permits: Semaphore::new(MAX_ROOMS),
            origin_permits: Semaphore::new(MAX_ORIGIN_QUEUES),
            per_origin: Gates::new(MAX_QUEUES_PER_ORIGIN),
        }
    }
}

impl Queues {
    pub(super) fn busy(&self) -> MutexGuard<'_, Busy> {
        self.state.lock()
    }

    pub(super) fn notify_ended(&self) {
        self.ended.notify_waiters();
    }
}

impl Busy {
    fn origins(&self, room: RoomNid) -> Vec<String> {
        self.origins.get(&room).into_iter().flat_map(HashMap::keys).cloned().collect()
    }
}

impl Inbox {
    /// Starts the task that processes the room's queue, or notes that the queue has grown. `origin` sent the new
    /// events.
    pub(super) fn wake(self: &Arc<Self>, room: RoomNid, origin: Option<&str>) {
        if let Some(room) = self.receiver.rooms.loaded(room).filter(|room| room.view().is_partial()) {
            room.state_requested.notify_one();
        }
        let mut busy = self.queues.busy();
        // The events of an origin that has a queue of its own go there, to keep their order.
        if let Some(more) = origin.and_then(|origin| busy.origins.get_mut(&room)?.get_mut(origin)) {
            *more = true;
            return;
        }
        if busy.rooms.insert(room, true).is_none() {
            let background = &self.receiver.background;
            background.spawn_abortable("received events of a room", Arc::clone(self).run_room(room));
        }
    }

    /// Waits until every event that is staged now has been added, deferred or refused.
    pub async fn drained(&self) {
        loop {
            let ended = self.queues.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let busy = self.queues.busy();
                if busy.rooms.is_empty() && busy.origins.is_empty() {
                    return;
                }
            }
            ended.await;
        }
    }

    async fn run_room(self: Arc<Self>, room: RoomNid) {
        let mut end = RemoveOnEnd { inbox: &self, room, listed: true };
        loop {
            if let Err(error) = self.wait_for_state(room).await {
                self.staged.stall(room, &error.into());
                return;
            }
            let Ok(_permit) = self.queues.permits.acquire().await else { return };
            if let Some(more) = self.queues.busy().rooms.get_mut(&room) {
                *more = false;
            }
            match self.add_staged(room).await {
                Ok(()) => {}
                Err(ReceiveError::Db(DbError::Closed)) => return,
                Err(error) => {
                    self.staged.stall(room, &error);
                    return;
                }
            }
            let mut busy = self.queues.busy();
            if busy.rooms.get(&room) == Some(&false) {
                busy.rooms.remove(&room);
                end.listed = false;
                return;
            }
        }
    }

    /// Waits until the room's state is complete: received events are not authorized against partial state.
    async fn wait_for_state(&self, nid: RoomNid) -> Result<(), DbError> {
        if let Some(room) = self.receiver.rooms.get_readable_nid(nid).await? {
            room.full_state().await;
        }
        Ok(())
    }

    /// Adds the staged events that need no other server, and starts the queues of the origins of all others.
    async fn add_staged(self: &Arc<Self>, nid: RoomNid) -> Result<(), ReceiveError> {
        let rooms = &self.receiver.rooms;
        let mut after = i64::MIN;
        loop {
            let origins = self.queues.busy().origins(nid);
            let read = rooms.db.read(move |tx| repo::received::staged(tx, nid, after, &origins, BATCH_SIZE));
            let staged = read.await?;
            let Some(last) = staged.last() else { return Ok(()) };
            after = last.staged_nid;
            let staged = self.staged.readable(nid, staged).await?;
            let of_room = match rooms.get_nid(nid).await {
                Err(error) if error.is_bad_data() => {
                    for event in &staged {
                        self.staged.defer(nid, event, &error.clone().into()).await?;
                    }
                    continue;
                }
                found => found?,
            };
            // The events of a room that was left before its state was complete are dropped.
            let Some(room) = of_room.filter(|room| !room.view().is_partial()) else {
                self.staged.unstage(&staged).await?;
                continue;
            };
            let staged = self.admitted(&room, staged).await?;
            let unready = self.add_ready(&room, &staged).await?;
            let staged = staged.into_iter().map(|(event, _)| event);
            let (later, done): (Vec<Staged>, Vec<Staged>) = staged.partition(|event| unready.contains(&event.origin));
            self.staged.unstage(&done).await?;
            let origins: HashSet<String> = later.into_iter().map(|event| event.origin).collect();
            origins.into_iter().for_each(|origin| self.wake_origin(nid, origin));
        }
    }

    /// Parses the events and drops those that the room does not admit. Events that arrived while the room could not be
    /// read are checked here for the first time.
    async fn admitted(&self, room: &Arc<Room>, staged: Vec<Staged>) -> Result<Vec<(Staged, Pdu)>, DbError> {
        let (mut admitted, mut done) = (Vec::with_capacity(staged.len()), Vec::new());
        for event in staged {
            let (pdu, origin) = (parse(room, &event), ServerName::try_from(event.origin.as_str()));
            let (Some(pdu), Ok(origin)) = (pdu, origin) else {
                done.push(event);
                continue;
            };
            match admit(room, &origin, &pdu) {
                Ok(()) if room.view().is_out_of_band() => match self.end_invite(room, &pdu).await {
                    // It does not delay the other events.
                    Err(error) if error.is_of_one() => {
                        self.staged.defer(room.nid, &event, &error.into()).await?;
                        continue;
                    }
                    ended => ended?,
                },
                Ok(()) => {
                    admitted.push((event, pdu));
                    continue;
                }
                Err(error) => tracing::info!(event = %pdu.event_id(), room = %room.id, "dropped: {error}"),
            }
            done.push(event);
        }
        self.staged.unstage(&done).await?;
        Ok(admitted)
    }

    /// Adds the events that need no other server. Returns the origins of the others; some of their events may be added
    /// already, and are then skipped.
    async fn add_ready(&self, room: &Arc<Room>, staged: &[(Staged, Pdu)]) -> Result<HashSet<String>, ReceiveError> {
        let pdus = staged.iter().map(|(_, pdu)| pdu.clone()).collect();
        let origin_of: HashMap<_, _> =
            staged.iter().map(|(event, pdu)| (pdu.event_id().clone(), event.origin.clone())).collect();
        let (outcomes, later) = match self.receiver.add_ready(room, pdus).await {
            // One event causes the error. The queues of the origins try each by itself.
            Err(ReceiveError::Db(error)) if error.is_of_one() => {
                tracing::error!(room = %room.id, "staged events cannot be added together: {error}");
                return Ok(staged.iter().map(|(event, _)| event.origin.clone()).collect());
            }
            added => added?,
        };
        let mut unready: HashSet<String> =
            later.iter().filter_map(|pdu| origin_of.get(pdu.event_id()).cloned()).collect();
        for (id, outcome) in &outcomes {
            match outcome {
                Err(error) if error.is_temporary() => unready.extend(origin_of.get(id).cloned()),
                Err(error) => tracing::info!(event = %id, room = %room.id, "dropped: {error}"),
                Ok(_) => {}
            }
        }
        Ok(unready)
    }
}

/// Removes a room's queue from the list when it ends, also by a panic.
struct RemoveOnEnd<'a> {
    inbox: &'a Inbox,
    room: RoomNid,
    listed: bool,
}

impl Drop for RemoveOnEnd<'_> {
    fn drop(&mut self) {
        if self.listed {
            self.inbox.queues.busy().rooms.remove(&self.room);
        }
        self.inbox.queues.notify_ended();
    }
}
