//! The log for other servers: events, and changes of devices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_rooms::{Room, Rooms, timeline};
use plexus_store::repo::device_lists::DeviceChange;
use plexus_store::repo::federation_out::Outgoing;
use plexus_store::{Database, DbError, EventNid, Position, RoomNid, Tx, repo};

use super::content::{LogContent, LogRecipients};
use super::device_updates::DeviceUpdates;
use super::shared_rooms::SharedRooms;
use crate::outbox::{LogChunk, LogEntry};

/// The most events, and the most changes of devices, that are read at once.
const MAX_ROWS: u32 = 500;

/// Reads the log.
pub(super) struct LogReader {
    pub(super) db: Database,
    pub(super) shared_rooms: SharedRooms,
    pub(super) device_updates: Arc<DeviceUpdates>,
}

/// Whether a server that came into the room later does not get an event: no more of erased users than it had.
pub(super) fn is_withheld(event: &Outgoing, pdu: &Pdu, room: &Room) -> bool {
    event.only_to.is_some() && room.erased.contains(pdu.sender().as_str())
}

/// Rows of the log.
pub(super) struct LogRows {
    pub events: Vec<Outgoing>,
    pub devices: Vec<DeviceChange>,
    /// They are all that the log has up to here.
    pub upto: Position,
}

impl LogRows {
    /// Reads what the log has after `after` up to `upto`, or as much of it as is read at once.
    pub(super) fn read(tx: &mut Tx<'_>, after: Position, upto: Position) -> Result<Self, DbError> {
        let mut events = repo::federation_out::after(tx, after, upto, MAX_ROWS.into())?;
        let mut devices = repo::device_lists::changes_after(tx, after, MAX_ROWS)?;
        let mut end = upto;
        if events.len() >= MAX_ROWS as usize {
            end = events.last().map_or(end, |event| end.min(event.position));
        }
        if devices.len() >= MAX_ROWS as usize {
            end = devices.last().map_or(end, |device| end.min(device.position));
        }
        events.retain(|event| event.position <= end);
        devices.retain(|device| device.position <= end);
        Ok(Self { events, devices, upto: end })
    }
}

impl LogReader {
    pub(super) fn new(db: Database, shared_rooms: SharedRooms, device_updates: Arc<DeviceUpdates>) -> Self {
        Self { db, shared_rooms, device_updates }
    }

    /// Reads the log after `after` up to `upto`, or less of it, and finds out which servers get each entry.
    pub(super) async fn read(
        &self,
        after: Position,
        upto: Position,
    ) -> Result<LogChunk<LogContent, LogRecipients>, DbError> {
        let rows = self.db.read(move |tx| LogRows::read(tx, after, upto)).await?;
        let mut entries = self.event_entries(&rows.events).await?;
        entries.extend(self.device_entries(&rows.devices).await?);
        entries.sort_by_key(|entry| entry.position);
        Ok(LogChunk { entries, upto: rows.upto })
    }

    async fn event_entries(&self, events: &[Outgoing]) -> Result<Vec<LogEntry<LogContent, LogRecipients>>, DbError> {
        let pdus = self.pdus(events).await?;
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            let Some(pdu) = pdus.get(&event.event_nid) else { continue };
            let Some(room) = self.rooms().get_readable_nid(event.room_nid).await? else { continue };
            let recipients = match &event.only_to {
                Some(_) if is_withheld(event, pdu, &room) => continue,
                Some(server) => LogRecipients::Servers(Arc::new(BTreeSet::from([server.clone()]))),
                None => LogRecipients::Room {
                    servers: room.view().servers.clone(),
                    except: event.handed_by.clone(),
                    also: event.also_to().map(str::to_owned).collect(),
                },
            };
            entries.push(LogEntry { position: event.position, content: LogContent::Pdu(pdu.clone()), recipients });
        }
        Ok(entries)
    }

    /// Loads the events themselves.
    pub(super) async fn pdus(&self, events: &[Outgoing]) -> Result<HashMap<EventNid, Pdu>, DbError> {
        let mut by_room: HashMap<RoomNid, Vec<EventNid>> = HashMap::new();
        for event in events {
            by_room.entry(event.room_nid).or_default().push(event.event_nid);
        }
        let mut pdus = HashMap::with_capacity(events.len());
        for (room, nids) in by_room {
            if let Some(room) = self.rooms().get_readable_nid(room).await? {
                let events = timeline::by_nids(&room, nids).await?;
                pdus.extend(events.iter().map(|event| (event.nid, event.pdu.clone())));
            }
        }
        Ok(pdus)
    }

    async fn device_entries(
        &self,
        changes: &[DeviceChange],
    ) -> Result<Vec<LogEntry<LogContent, LogRecipients>>, DbError> {
        let mut entries = Vec::new();
        let mut sharing: HashMap<UserId, Arc<BTreeSet<String>>> = HashMap::new();
        for change in changes {
            let Some(user) = self.shared_rooms.local_user(&change.user_id) else { continue };
            let servers = match sharing.get(&user) {
                Some(servers) => Arc::clone(servers),
                None => Arc::new(self.shared_rooms.servers(&user).await?),
            };
            sharing.insert(user.clone(), Arc::clone(&servers));
            // Recorded even if no server gets it: a server that missed this one notices it with the next.
            let previous = self.device_updates.record_sent(&user, change);
            if servers.is_empty() {
                continue;
            }
            let Some(edus) = self.device_updates.edus(&user, change, previous).await? else { continue };
            let recipients = LogRecipients::Servers(servers);
            entries.push(LogEntry { position: change.position, content: LogContent::Edus(edus), recipients });
        }
        Ok(entries)
    }

    pub(super) fn rooms(&self) -> &Rooms {
        &self.shared_rooms.rooms
    }
}
