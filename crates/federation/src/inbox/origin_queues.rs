//! The queue of each origin in a room: events of the origin that need events or states from another server.

use std::sync::Arc;

use plexus_protocol::id::ServerName;
use plexus_rooms::model::room::Room;
use plexus_store::repo::received::Staged;
use plexus_store::{DbError, RoomNid, event_key, repo};

use super::Inbox;
use super::room_queues::{BATCH_SIZE, Busy};
use super::staged::{id_for_log, parse};
use crate::receive::{Deadline, Outcomes, ReceiveError, RemoteSource};

impl Inbox {
    /// Starts the task that processes the queue of `origin` in a room, or notes that the queue has grown.
    pub(super) fn wake_origin(self: &Arc<Self>, room: RoomNid, origin: String) {
        let mut busy = self.queues.busy();
        let of_room = busy.origins.entry(room).or_default();
        if of_room.insert(origin.clone(), true).is_none() {
            let background = &self.receiver.background;
            background
                .spawn_abortable("received events of a server in a room", Arc::clone(self).run_origin(room, origin));
        }
    }

    async fn run_origin(self: Arc<Self>, room: RoomNid, origin: String) {
        let mut end = RemoveOnEnd { inbox: &self, room, origin: &origin, listed: true };
        let _pass = self.queues.per_origin.enter(&origin).await;
        let Ok(_permit) = self.queues.origin_permits.acquire().await else { return };
        loop {
            if let Some(more) = self.queues.busy().origins.get_mut(&room).and_then(|of| of.get_mut(&origin)) {
                *more = false;
            }
            match self.process_some(room, &origin).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(ReceiveError::Db(DbError::Closed)) => return,
                Err(error) => {
                    self.staged.stall(room, &error);
                    return;
                }
            }
            let mut busy = self.queues.busy();
            let more = busy.origins.get(&room).and_then(|of| of.get(&origin)).copied();
            if more != Some(true) {
                end.listed = false;
                unlist(&mut busy, room, &origin);
                return;
            }
        }
    }

    /// Adds the next staged events, and the missing events before them. Returns `false` when there are none.
    async fn process_some(&self, nid: RoomNid, origin: &str) -> Result<bool, ReceiveError> {
        let rooms = &self.receiver.rooms;
        let by = origin.to_owned();
        let staged = rooms.db.read(move |tx| repo::received::staged_by(tx, nid, &by, BATCH_SIZE)).await?;
        if staged.is_empty() {
            return Ok(false);
        }
        let staged = self.staged.readable(nid, staged).await?;
        if let (Some(room), Ok(origin)) = (rooms.get_nid(nid).await?, ServerName::try_from(origin)) {
            let pdus = staged.iter().filter_map(|event| parse(&room, event)).collect();
            let deadline = &Deadline::of_queue(&self.receiver.clock);
            let source = RemoteSource { receiver: &self.receiver, room: &room, server: &origin, deadline };
            let outcomes = match self.receiver.process(&source, pdus).await {
                Err(ReceiveError::Db(error)) if error.is_of_one() => {
                    return self.process_singly(&origin, &room, &staged).await;
                }
                outcomes => outcomes?,
            };
            return self.settle(&room, staged, &outcomes).await;
        }
        self.staged.unstage(&staged).await?;
        Ok(true)
    }

    /// Adds each event by itself, because one of them cannot be read or written.
    async fn process_singly(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        staged: &[Staged],
    ) -> Result<bool, ReceiveError> {
        for event in staged {
            let pdus = parse(room, event).into_iter().collect();
            let deadline = &Deadline::of_queue(&self.receiver.clock);
            let source = RemoteSource { receiver: &self.receiver, room, server: origin, deadline };
            match self.receiver.process(&source, pdus).await {
                Ok(outcomes) => _ = self.settle(room, vec![event.clone()], &outcomes).await?,
                Err(error @ ReceiveError::Db(_)) if error.is_caused_by_event() => {
                    self.staged.defer(room.nid, event, &error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Deletes the events that have been added or refused, and defers those that could not be added.
    async fn settle(&self, room: &Room, staged: Vec<Staged>, outcomes: &Outcomes) -> Result<bool, ReceiveError> {
        let mut done = Vec::with_capacity(staged.len());
        for event in staged {
            let outcome = outcomes.iter().find(|(id, _)| event_key::encode(id) == event.event_id);
            match outcome.map(|(_, outcome)| outcome) {
                Some(Err(error)) if error.is_temporary() => self.staged.defer(room.nid, &event, error).await?,
                Some(Err(error)) => {
                    let id = id_for_log(&event.event_id);
                    tracing::info!(event = id, room = %room.id, "dropped: {error}");
                    done.push(event);
                }
                Some(Ok(_)) | None => done.push(event),
            }
        }
        self.staged.unstage(&done).await?;
        Ok(true)
    }
}

fn unlist(busy: &mut Busy, room: RoomNid, origin: &str) {
    if let Some(of_room) = busy.origins.get_mut(&room) {
        of_room.remove(origin);
        if of_room.is_empty() {
            busy.origins.remove(&room);
        }
    }
}

/// Removes an origin's queue from the list when it ends, also by a panic.
struct RemoveOnEnd<'a> {
    inbox: &'a Inbox,
    room: RoomNid,
    origin: &'a str,
    listed: bool,
}

impl Drop for RemoveOnEnd<'_> {
    fn drop(&mut self) {
        if self.listed {
            unlist(&mut self.inbox.queues.busy(), self.room, self.origin);
        }
        self.inbox.queues.notify_ended();
    }
}
