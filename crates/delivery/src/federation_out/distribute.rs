//! Finds out who gets what the log has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{ServerName, UserId};
use plexus_rooms::timeline;
use plexus_store::repo::device_lists::DeviceChange;
use plexus_store::repo::federation_out::Outgoing;
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx, repo};

use super::FederationOut;
use super::recent::{Item, Recipients, What};

/// How many events and how many changes of devices are read at once.
const CHUNK: u32 = 500;

/// A part of the log.
pub(super) struct Chunk {
    pub events: Vec<Outgoing>,
    pub devices: Vec<DeviceChange>,
    /// Where it ends.
    pub upto: Position,
}

/// What the log has after `after` and at or before `upto`, as far as one chunk goes.
pub(super) fn chunk(tx: &mut Tx<'_>, after: Position, upto: Position) -> Result<Chunk, DbError> {
    let mut events = repo::federation_out::after(tx, after, upto, CHUNK.into())?;
    let mut devices = repo::device_lists::changes_after(tx, after, CHUNK)?;
    let mut end = upto;
    if events.len() >= CHUNK as usize {
        end = events.last().map_or(end, |event| end.min(event.position));
    }
    if devices.len() >= CHUNK as usize {
        end = devices.last().map_or(end, |device| end.min(device.position));
    }
    events.retain(|event| event.position <= end);
    devices.retain(|device| device.position <= end);
    Ok(Chunk { events, devices, upto: end })
}

impl FederationOut {
    /// Looks at everything that is committed and has not been looked at.
    pub(super) async fn distribute(&self) -> Result<(), DbError> {
        loop {
            let (after, committed) = (self.state.lock().book.distributed, self.parts.db.committed());
            if after >= committed {
                return Ok(());
            }
            let chunk = self.parts.db.read(move |tx| chunk(tx, after, committed)).await?;
            let upto = chunk.upto;
            let mut items = self.event_items(&chunk.events).await?;
            items.extend(self.device_items(&chunk.devices).await?);
            items.sort_by_key(|item| item.position);
            self.hand_out(items, after, upto);
        }
    }

    fn hand_out(&self, items: Vec<Item>, after: Position, upto: Position) {
        let mut state = self.state.lock();
        for item in items {
            for name in item.to.names() {
                if let Ok(server) = ServerName::try_from(name)
                    && self.is_other(&server)
                {
                    state.book.news(server, after, item.position);
                }
            }
            state.recent.push(Arc::new(item));
        }
        state.book.distributed = upto;
        drop(state);
        self.ready.notify_one();
        self.progressed.notify_one();
    }

    async fn event_items(&self, events: &[Outgoing]) -> Result<Vec<Item>, DbError> {
        let pdus = self.pdus(events).await?;
        let mut items = Vec::with_capacity(events.len());
        for event in events {
            let Some(pdu) = pdus.get(&event.event_nid) else { continue };
            let Some(room) = self.parts.rooms.get_readable_nid(event.room_nid).await? else { continue };
            let to = Recipients::Room {
                servers: room.view().servers.clone(),
                but: event.handed_by.clone(),
                also: event.also_to().map(str::to_owned).collect(),
            };
            items.push(Item { position: event.position, what: What::Pdu(pdu.clone()), to });
        }
        Ok(items)
    }

    /// The events themselves.
    pub(super) async fn pdus(&self, events: &[Outgoing]) -> Result<HashMap<EventNid, Pdu>, DbError> {
        let mut by_room: HashMap<RoomNid, Vec<EventNid>> = HashMap::new();
        for event in events {
            by_room.entry(event.room_nid).or_default().push(event.event_nid);
        }
        let mut pdus = HashMap::with_capacity(events.len());
        for (room, nids) in by_room {
            if let Some(room) = self.parts.rooms.get_readable_nid(room).await? {
                let events = timeline::by_nids(&room, nids).await?;
                pdus.extend(events.iter().map(|event| (event.nid, event.pdu.clone())));
            }
        }
        Ok(pdus)
    }

    /// [`Self::device_update`]; `None` if what is stored of the device cannot be read.
    pub(super) async fn readable_update(
        &self,
        user: &UserId,
        change: &DeviceChange,
        previous: Option<Position>,
    ) -> Result<Option<What>, DbError> {
        match self.device_update(user, change, previous).await {
            Ok(edus) => Ok(Some(What::Edus(edus.into()))),
            Err(error) if error.is_bad_data() => {
                tracing::warn!("other servers are not sent change {} of devices of {user}: {error}", change.position);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn device_items(&self, changes: &[DeviceChange]) -> Result<Vec<Item>, DbError> {
        let mut items = Vec::new();
        let mut sharing: HashMap<UserId, Arc<BTreeSet<String>>> = HashMap::new();
        for change in changes {
            let Some(user) = self.local_user(&change.user_id) else { continue };
            let servers = match sharing.get(&user) {
                Some(servers) => Arc::clone(servers),
                None => Arc::new(self.servers_sharing(&user).await?),
            };
            sharing.insert(user.clone(), Arc::clone(&servers));
            // Also if nobody gets it: whoever did not get this one notices with the next one.
            let previous = self.handed_out(&user, change);
            if servers.is_empty() {
                continue;
            }
            let Some(what) = self.readable_update(&user, change, previous).await? else { continue };
            items.push(Item { position: change.position, what, to: Recipients::Servers(servers) });
        }
        Ok(items)
    }

    /// The user, if it is one of this server.
    pub(super) fn local_user(&self, user_id: &str) -> Option<UserId> {
        let user = UserId::try_from(user_id).ok()?;
        (user.server_name() == self.parts.rooms.server_name().as_str()).then_some(user)
    }

    /// Whether a user shares a room with another server.
    pub(super) async fn shares_room(&self, user: &UserId, server: &ServerName) -> Result<bool, DbError> {
        for room in self.parts.rooms.memberships().of(user).await?.joined() {
            if let Some(room) = self.parts.rooms.get_readable_nid(room).await?
                && room.view().servers.contains(server.as_str())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The other servers with which a user shares a room.
    pub(super) async fn servers_sharing(&self, user: &UserId) -> Result<BTreeSet<String>, DbError> {
        let mut servers = BTreeSet::new();
        let rooms = self.parts.rooms.memberships().of(user).await?;
        for room in rooms.joined() {
            if let Some(room) = self.parts.rooms.get_readable_nid(room).await? {
                servers.extend(room.view().servers.names().map(str::to_owned));
            }
        }
        servers.remove(self.parts.rooms.server_name().as_str());
        Ok(servers)
    }
}
