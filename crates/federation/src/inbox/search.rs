//! The events of one server in one room that rest on something which is not here.

use std::sync::Arc;

use plexus_protocol::id::{EventId, ServerName};
use plexus_rooms::model::room::Room;
use plexus_rooms::write::graph::Accepted;
use plexus_store::repo::received::Staged;
use plexus_store::{DbError, RoomNid, event_key, repo};

use super::Inbox;
use super::lanes::{EVENTS_AT_ONCE, name_of, parse};
use crate::receive::{Deadline, ReceiveError};

type Outcomes = Vec<(EventId, Result<Accepted, ReceiveError>)>;

impl Inbox {
    /// Has the events of `origin` in a room searched for, in their order.
    pub(super) fn search(self: &Arc<Self>, room: RoomNid, origin: String) {
        let mut busy = self.lanes.busy();
        let of_room = busy.searching.entry(room).or_default();
        if of_room.insert(origin.clone(), true).is_none() {
            let background = &self.receiver.writer.background;
            background.spawn_abortable("search for missing events", Arc::clone(self).run_search(room, origin));
        }
    }

    async fn run_search(self: Arc<Self>, room: RoomNid, origin: String) {
        let mut end = End { inbox: &self, room, origin: &origin, listed: true };
        let _one_of_few = self.lanes.searches_of.enter(&origin).await;
        let Ok(_permit) = self.lanes.search_permits.acquire().await else { return };
        loop {
            if let Some(more) = self.lanes.busy().searching.get_mut(&room).and_then(|of| of.get_mut(&origin)) {
                *more = false;
            }
            match self.search_some(room, &origin).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(ReceiveError::Db(DbError::Closed)) => return,
                Err(error) => {
                    self.stalls(room, &error);
                    return;
                }
            }
            let mut busy = self.lanes.busy();
            let more = busy.searching.get(&room).and_then(|of| of.get(&origin)).copied();
            if more != Some(true) {
                end.listed = false;
                unlist(&mut busy, room, &origin);
                return;
            }
        }
    }

    /// Searches for what the next events rest on and places them; `false` when there are none.
    async fn search_some(&self, nid: RoomNid, origin: &str) -> Result<bool, ReceiveError> {
        let rooms = &self.receiver.rooms;
        let by = origin.to_owned();
        let staged = rooms.db.read(move |tx| repo::received::staged_by(tx, nid, &by, EVENTS_AT_ONCE)).await?;
        if staged.is_empty() {
            return Ok(false);
        }
        let staged = self.readable(nid, staged).await?;
        if let (Some(room), Ok(origin)) = (rooms.get_nid(nid).await?, ServerName::try_from(origin)) {
            let pdus = staged.iter().filter_map(|event| parse(&room, event)).collect();
            let outcomes = match self
                .receiver
                .process(&origin, &room, pdus, &Deadline::of_queue(&self.receiver.writer.clock))
                .await
            {
                Err(ReceiveError::Db(error)) if error.is_of_one() => {
                    return self.search_singly(&origin, &room, &staged).await;
                }
                outcomes => outcomes?,
            };
            return self.keep_failed(&room, staged, &outcomes).await;
        }
        self.done(&staged).await?;
        Ok(true)
    }

    /// One of them cannot be read or written: each is tried by itself.
    async fn search_singly(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        staged: &[Staged],
    ) -> Result<bool, ReceiveError> {
        for event in staged {
            let pdus = parse(room, event).into_iter().collect();
            match self.receiver.process(origin, room, pdus, &Deadline::of_queue(&self.receiver.writer.clock)).await {
                Ok(outcomes) => _ = self.keep_failed(room, vec![event.clone()], &outcomes).await?,
                Err(error @ ReceiveError::Db(_)) if error.is_of_one() => {
                    self.set_aside(room.nid, event, &error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Forgets what has been placed or refused; what could not be placed is tried again later.
    async fn keep_failed(&self, room: &Room, staged: Vec<Staged>, outcomes: &Outcomes) -> Result<bool, ReceiveError> {
        let mut done = Vec::with_capacity(staged.len());
        for event in staged {
            let outcome = outcomes.iter().find(|(id, _)| event_key::encode(id) == event.event_id);
            match outcome.map(|(_, outcome)| outcome) {
                Some(Err(error)) if error.may_pass() => self.set_aside(room.nid, &event, error).await?,
                Some(Err(error)) => {
                    let id = name_of(&event.event_id);
                    tracing::info!(event = id, room = %room.id, "dropped: {error}");
                    done.push(event);
                }
                Some(Ok(_)) | None => done.push(event),
            }
        }
        self.done(&done).await?;
        Ok(true)
    }
}

fn unlist(busy: &mut super::lanes::Busy, room: RoomNid, origin: &str) {
    if let Some(of_room) = busy.searching.get_mut(&room) {
        of_room.remove(origin);
        if of_room.is_empty() {
            busy.searching.remove(&room);
        }
    }
}

/// Takes a search off the list however it ends.
struct End<'a> {
    inbox: &'a Inbox,
    room: RoomNid,
    origin: &'a str,
    listed: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if self.listed {
            unlist(&mut self.inbox.lanes.busy(), self.room, self.origin);
        }
        self.inbox.lanes.one_has_ended();
    }
}
