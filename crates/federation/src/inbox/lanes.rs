//! Two ways to a place. One lane a room places staged events in the order they came in, as long as what they rest on is
//! here: it never waits for another server. What has to be searched for goes on in a lane of the room and the server
//! that sent it (`search`), so that a server that does not answer holds up nothing but its own events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use plexus_net::Gates;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::model::room::Room;
use plexus_store::repo::received::Staged;
use plexus_store::{DbError, RoomNid, event_key, repo};
use tokio::sync::{Notify, Semaphore};

use super::retries::Retries;
use super::{Inbox, admit};
use crate::receive::ReceiveError;

/// How many rooms are worked on at a time.
const ROOMS_AT_ONCE: usize = 64;
/// For how many rooms and servers something is searched at a time, and for how many rooms of one server. Most of a
/// search is waiting for that server.
const SEARCHES_AT_ONCE: usize = 64;
const SEARCHES_OF_ONE: usize = 4;
/// How many events of a room are taken at a time.
pub(super) const EVENTS_AT_ONCE: u32 = 50;

pub(super) struct Lanes {
    state: Mutex<Busy>,
    ended: Notify,
    permits: Semaphore,
    pub(super) search_permits: Semaphore,
    pub(super) searches_of: Gates,
    pub(super) retries: Retries,
}

/// What is worked on; `true` when more was staged since the lane last looked.
#[derive(Default)]
pub(super) struct Busy {
    rooms: HashMap<RoomNid, bool>,
    pub(super) searching: HashMap<RoomNid, HashMap<String, bool>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            ended: Notify::new(),
            permits: Semaphore::new(ROOMS_AT_ONCE),
            search_permits: Semaphore::new(SEARCHES_AT_ONCE),
            searches_of: Gates::new(SEARCHES_OF_ONE),
            retries: Retries::default(),
        }
    }
}

impl Lanes {
    pub(super) fn busy(&self) -> MutexGuard<'_, Busy> {
        self.state.lock()
    }

    pub(super) fn one_has_ended(&self) {
        self.ended.notify_waiters();
    }
}

impl Busy {
    fn searching(&self, room: RoomNid) -> Vec<String> {
        self.searching.get(&room).into_iter().flat_map(HashMap::keys).cloned().collect()
    }
}

impl Inbox {
    /// Sees to it that a room's staged events are placed; `origin` has sent new ones.
    pub(super) fn wake(self: &Arc<Self>, room: RoomNid, origin: Option<&str>) {
        if let Some(room) = self.receiver.rooms.loaded(room).filter(|room| room.view().is_partial()) {
            room.wanted.notify_one();
        }
        let mut busy = self.lanes.busy();
        // Behind those of its events that are searched for, so that they keep their order.
        if let Some(more) = origin.and_then(|origin| busy.searching.get_mut(&room)?.get_mut(origin)) {
            *more = true;
            return;
        }
        if busy.rooms.insert(room, true).is_none() {
            let background = &self.receiver.writer.background;
            background.spawn_abortable("received events of a room", Arc::clone(self).run(room));
        }
    }

    /// Waits until everything staged so far has been placed or refused.
    pub async fn drained(&self) {
        loop {
            let ended = self.lanes.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let busy = self.lanes.busy();
                if busy.rooms.is_empty() && busy.searching.is_empty() {
                    return;
                }
            }
            ended.await;
        }
    }

    async fn run(self: Arc<Self>, room: RoomNid) {
        let mut end = End { inbox: &self, room, listed: true };
        loop {
            if let Err(error) = self.until_full(room).await {
                self.stalls(room, &error.into());
                return;
            }
            let Ok(_permit) = self.lanes.permits.acquire().await else { return };
            if let Some(more) = self.lanes.busy().rooms.get_mut(&room) {
                *more = false;
            }
            match self.place_all_there_is(room).await {
                Ok(()) => {}
                Err(ReceiveError::Db(DbError::Closed)) => return,
                Err(error) => {
                    self.stalls(room, &error);
                    return;
                }
            }
            let mut busy = self.lanes.busy();
            if busy.rooms.get(&room) == Some(&false) {
                busy.rooms.remove(&room);
                end.listed = false;
                return;
            }
        }
    }

    /// Waits as long as part of the room's state is missing: nothing of others is judged by that.
    async fn until_full(&self, nid: RoomNid) -> Result<(), DbError> {
        if let Some(room) = self.receiver.rooms.get_readable_nid(nid).await? {
            room.full_state().await;
        }
        Ok(())
    }

    /// Places the staged events of a room that need nobody else, and has those searched for that do.
    async fn place_all_there_is(self: &Arc<Self>, nid: RoomNid) -> Result<(), ReceiveError> {
        let rooms = &self.receiver.rooms;
        let mut after = i64::MIN;
        loop {
            let searching = self.lanes.busy().searching(nid);
            let read = rooms.db.read(move |tx| repo::received::staged(tx, nid, after, &searching, EVENTS_AT_ONCE));
            let staged = read.await?;
            let Some(last) = staged.last() else { return Ok(()) };
            after = last.staged_nid;
            let staged = self.readable(nid, staged).await?;
            let of_room = match rooms.get_nid(nid).await {
                Err(error) if error.is_bad_data() => {
                    for event in &staged {
                        self.set_aside(nid, event, &error.clone().into()).await?;
                    }
                    continue;
                }
                found => found?,
            };
            // Of a room that was left before all of its state had come nothing more is known than that.
            let Some(room) = of_room.filter(|room| !room.view().is_partial()) else {
                self.done(&staged).await?;
                continue;
            };
            let staged = self.admitted(&room, staged).await?;
            let searched = self.place_ready(&room, &staged).await?;
            let staged = staged.into_iter().map(|(event, _)| event);
            let (later, done): (Vec<Staged>, Vec<Staged>) = staged.partition(|event| searched.contains(&event.origin));
            self.done(&done).await?;
            let origins: HashSet<String> = later.into_iter().map(|event| event.origin).collect();
            origins.into_iter().for_each(|origin| self.search(nid, origin));
        }
    }

    /// Parses the events and drops those that the room does not accept. Events that came while the room could not be
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
                    // The others do not wait for it.
                    Err(error) if error.is_of_one() => {
                        self.set_aside(room.nid, &event, &error.into()).await?;
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
        self.done(&done).await?;
        Ok(admitted)
    }

    /// Places what needs nobody else; returns the servers whose events do. Of those some may have been placed: they are
    /// known when they are met again.
    async fn place_ready(&self, room: &Arc<Room>, staged: &[(Staged, Pdu)]) -> Result<HashSet<String>, ReceiveError> {
        let pdus = staged.iter().map(|(_, pdu)| pdu.clone()).collect();
        let origin_of: HashMap<_, _> =
            staged.iter().map(|(event, pdu)| (pdu.event_id().clone(), event.origin.clone())).collect();
        let (outcomes, later) = match self.receiver.place_ready(room, pdus).await {
            // Which of them it is shows when they are looked at one by one.
            Err(ReceiveError::Db(error)) if error.is_of_one() => {
                tracing::error!(room = %room.id, "staged events cannot be placed together: {error}");
                return Ok(staged.iter().map(|(event, _)| event.origin.clone()).collect());
            }
            placed => placed?,
        };
        let mut searched: HashSet<String> =
            later.iter().filter_map(|pdu| origin_of.get(pdu.event_id()).cloned()).collect();
        for (id, outcome) in &outcomes {
            match outcome {
                Err(error) if error.may_pass() => searched.extend(origin_of.get(id).cloned()),
                Err(error) => tracing::info!(event = %id, room = %room.id, "dropped: {error}"),
                Ok(_) => {}
            }
        }
        Ok(searched)
    }

    /// Forgets staged events.
    pub(super) async fn done(&self, staged: &[Staged]) -> Result<(), DbError> {
        let nids: Vec<i64> = staged.iter().map(|event| event.staged_nid).collect();
        if nids.is_empty() {
            Ok(())
        } else {
            self.receiver.writer.db.write(move |tx| repo::received::unstage(tx, &nids)).await
        }
    }

    /// The events that can be read; the others are set aside.
    pub(super) async fn readable(&self, room: RoomNid, staged: Vec<Staged>) -> Result<Vec<Staged>, DbError> {
        let mut readable = Vec::with_capacity(staged.len());
        for event in staged {
            match &event.json {
                Ok(_) => readable.push(event),
                Err(error) => {
                    let place = format!("staged_pdus, staged_nid {}", event.staged_nid);
                    self.set_aside(room, &event, &DbError::bad_data(place, error).into()).await?;
                }
            }
        }
        Ok(readable)
    }
}

/// An event id for people to read, whatever the room's version.
pub(super) fn name_of(stored: &[u8]) -> String {
    match event_key::decode(stored, RoomVersion::V12) {
        Ok(id) => id.to_string(),
        Err(_) => String::from_utf8_lossy(stored).into_owned(),
    }
}

/// A staged event, if it can be read.
pub(super) fn parse(room: &Room, event: &Staged) -> Option<Pdu> {
    let place = format!("staged_pdus, staged_nid {}", event.staged_nid);
    let read = event_key::decode(&event.event_id, room.version)
        .map_err(|error| DbError::bad_data(&place, error))
        .and_then(|id| {
            let json = event.json.as_ref().map_err(|error| DbError::bad_data(&place, error))?;
            Pdu::from_stored(json, id, room.version).map_err(|error| DbError::bad_data(&place, error))
        });
    read.inspect_err(|error| tracing::error!(room = %room.id, "dropped: {error}")).ok()
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
            self.inbox.lanes.busy().rooms.remove(&self.room);
        }
        self.inbox.lanes.one_has_ended();
    }
}
