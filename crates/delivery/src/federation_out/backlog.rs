//! What a server gets next that is further behind than memory reaches.

use std::collections::{HashMap, HashSet};

use plexus_protocol::id::ServerName;
use plexus_store::repo::device_lists::{self, DeviceChange};
use plexus_store::repo::federation_out::Outgoing;
use plexus_store::{DbError, Position, RoomNid, repo};

use super::FederationOut;
use super::batch::MOST;
use super::distribute::{Chunk, chunk};
use super::recent::What;

/// What is due, oldest first.
pub(super) struct Backlog {
    pub due: Vec<(Position, What)>,
    /// There is nothing else for the server up to here.
    pub upto: Position,
}

impl FederationOut {
    /// What a server gets that has everything up to `after`.
    pub(super) async fn backlog(
        &self,
        server: &ServerName,
        after: Position,
        upto: Position,
    ) -> Result<Backlog, DbError> {
        let first = self.parts.db.read(move |tx| chunk(tx, after, upto)).await?;
        let mut events = self.for_server(server, first.events).await?;
        let mut end = first.upto;
        let devices = first.devices;
        if end < upto || events.len() > MOST {
            let read = move |tx: &mut plexus_store::Tx<'_>| repo::federation_out::newest_of_rooms(tx, after, upto);
            let newest: Vec<Outgoing> = self.parts.db.read(read).await?;
            events = self.for_server(server, newest).await?;
            // Changes of devices are told one by one; the events up to where this chunk of them ends go with them.
            if devices.is_empty() {
                end = upto;
            } else {
                events.retain(|event| event.position <= end);
            }
        }
        self.hydrated(server, Chunk { events, devices, upto: end }).await
    }

    /// Those of the events that a server gets.
    async fn for_server(&self, server: &ServerName, events: Vec<Outgoing>) -> Result<Vec<Outgoing>, DbError> {
        let (mut inside, mut outside): (HashSet<RoomNid>, HashSet<RoomNid>) = Default::default();
        let mut due = Vec::new();
        for event in events {
            if event.handed_by.as_deref() == Some(server.as_str()) {
                continue;
            }
            if !inside.contains(&event.room_nid) && !outside.contains(&event.room_nid) {
                let room = self.parts.rooms.get_readable_nid(event.room_nid).await?;
                let is_in = room.is_some_and(|room| room.view().servers.contains(server.as_str()));
                if is_in { &mut inside } else { &mut outside }.insert(event.room_nid);
            }
            if inside.contains(&event.room_nid) || event.also_to().any(|also| also == server.as_str()) {
                due.push(event);
            }
        }
        Ok(due)
    }

    async fn hydrated(&self, server: &ServerName, chunk: Chunk) -> Result<Backlog, DbError> {
        let Chunk { mut events, devices, mut upto } = chunk;
        if events.len() > MOST {
            events.truncate(MOST);
            upto = events.last().map_or(upto, |event| event.position);
        }
        let pdus = self.pdus(&events).await?;
        let mut due: Vec<(Position, What)> = events
            .iter()
            .filter_map(|event| Some((event.position, What::Pdu(pdus.get(&event.event_nid)?.clone()))))
            .collect();
        // What was replaced while the server was away is not sent: each update follows the one that is.
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
        Ok(Backlog { due, upto })
    }

    async fn update_for(
        &self,
        server: &ServerName,
        change: &DeviceChange,
        previous: Option<Position>,
    ) -> Result<Option<What>, DbError> {
        let Some(user) = self.local_user(&change.user_id) else { return Ok(None) };
        if !self.shares_room(&user, server).await? {
            return Ok(None);
        }
        self.readable_update(&user, change, previous).await
    }
}
