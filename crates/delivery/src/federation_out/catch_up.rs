//! The log's content for a server that is further behind than memory reaches.

use std::collections::{HashMap, HashSet};

use plexus_protocol::id::ServerName;
use plexus_store::repo::device_lists::{self, DeviceChange};
use plexus_store::repo::federation_out::Outgoing;
use plexus_store::{DbError, Position, RoomNid, Tx, repo};

use super::content::LogContent;
use super::log::{LogReader, LogRows, is_withheld};
use super::transaction::MAX_PIECES;
use crate::outbox::Due;

impl LogReader {
    /// Reads the content for a server that has everything up to `after`, up to `upto` or less. A server that has missed
    /// more than a transaction holds gets only the newest event of each room, and fetches the others itself.
    pub(super) async fn catch_up(
        &self,
        server: &ServerName,
        after: Position,
        upto: Position,
    ) -> Result<Due<LogContent>, DbError> {
        let rows = self.db.read(move |tx| LogRows::read(tx, after, upto)).await?;
        let mut events = self.for_server(server, rows.events).await?;
        let mut end = rows.upto;
        let devices = rows.devices;
        if end < upto || events.len() > MAX_PIECES {
            let read = move |tx: &mut Tx<'_>| repo::federation_out::newest_of_rooms(tx, after, upto);
            let newest: Vec<Outgoing> = self.db.read(read).await?;
            events = self.for_server(server, newest).await?;
            // All changes of devices are sent; with these ones go the events up to the last of them.
            if devices.is_empty() {
                end = upto;
            } else {
                events.retain(|event| event.position <= end);
            }
        }
        self.load(server, LogRows { events, devices, upto: end }).await
    }

    /// Returns those of the events that a server gets.
    async fn for_server(&self, server: &ServerName, events: Vec<Outgoing>) -> Result<Vec<Outgoing>, DbError> {
        let (mut inside, mut outside): (HashSet<RoomNid>, HashSet<RoomNid>) = Default::default();
        let mut due = Vec::new();
        for event in events {
            if event.handed_by.as_deref() == Some(server.as_str()) {
                continue;
            }
            if event.only_to.as_deref().is_some_and(|only| only != server.as_str()) {
                continue;
            }
            if !inside.contains(&event.room_nid) && !outside.contains(&event.room_nid) {
                let room = self.rooms().get_readable_nid(event.room_nid).await?;
                let is_in = room.is_some_and(|room| room.view().servers.contains(server.as_str()));
                if is_in { &mut inside } else { &mut outside }.insert(event.room_nid);
            }
            if inside.contains(&event.room_nid) || event.also_to().any(|also| also == server.as_str()) {
                due.push(event);
            }
        }
        Ok(due)
    }

    async fn load(&self, server: &ServerName, rows: LogRows) -> Result<Due<LogContent>, DbError> {
        let LogRows { mut events, devices, mut upto } = rows;
        if events.len() > MAX_PIECES {
            events.truncate(MAX_PIECES);
            upto = events.last().map_or(upto, |event| event.position);
        }
        let pdus = self.pdus(&events).await?;
        let mut due: Vec<(Position, LogContent)> = Vec::with_capacity(events.len());
        for event in &events {
            let Some(pdu) = pdus.get(&event.event_nid) else { continue };
            let Some(room) = self.rooms().get_readable_nid(event.room_nid).await? else { continue };
            if !is_withheld(event, pdu, &room) {
                due.push((event.position, LogContent::Pdu(pdu.clone())));
            }
        }
        // Updates that were replaced while the server was away are not sent: each refers to the last one that is.
        let mut newest: HashMap<&str, Position> = HashMap::new();
        for change in devices.iter().filter(|change| change.position <= upto) {
            let previous = match change.device_id.as_str() {
                device_lists::CROSS_SIGNING => None,
                _ => newest.insert(&change.user_id, change.position).or(change.previous),
            };
            if let Some(edus) = self.update_for(server, change, previous).await? {
                due.push((change.position, edus));
            }
        }
        due.sort_by_key(|(position, _)| *position);
        Ok(Due { entries: due, upto })
    }

    async fn update_for(
        &self,
        server: &ServerName,
        change: &DeviceChange,
        previous: Option<Position>,
    ) -> Result<Option<LogContent>, DbError> {
        let Some(user) = self.shared_rooms.local_user(&change.user_id) else { return Ok(None) };
        if !self.shared_rooms.shares_room(&user, server).await? {
            return Ok(None);
        }
        Ok(self.device_updates.edus(&user, change, previous).await?.map(LogContent::Edus))
    }
}
