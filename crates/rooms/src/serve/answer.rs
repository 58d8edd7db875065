//! Events as they go out to other servers.

use std::collections::HashMap;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::event_graph::{self, GraphEvent};
use plexus_store::repo::events::Verdict;
use plexus_store::{DbError, EventNid, RoomNid, Tx, event_key};

use crate::room::Room;

/// An event that may be told.
pub(super) struct Found {
    pub row: GraphEvent,
    pub pdu: Pdu,
}

impl Found {
    fn new(row: GraphEvent, version: RoomVersion) -> Result<Self, DbError> {
        let pdu = parse(&row, version)?;
        Ok(Self { row, pdu })
    }

    /// Whether it has its place in the room's graph.
    pub fn is_placed(&self) -> bool {
        self.row.known.snapshot_nid.is_some()
    }

    /// Whether the room's rules did not allow it: it is not told.
    pub fn is_rejected(&self) -> bool {
        self.row.known.verdict == Verdict::Rejected
    }

    /// The event as it is stored; what is left of it when it was redacted, or is not `visible`.
    pub fn into_json(self, visible: bool) -> String {
        match visible && self.row.redacted_by.is_none() {
            true => self.row.json,
            false => redact::redact(&self.pdu).json().to_owned(),
        }
    }
}

/// Events of a room by id, outliers and rejected ones too; unknown ones and those of other rooms are left out.
pub(super) fn by_ids(tx: &mut Tx<'_>, room: (RoomNid, RoomVersion), ids: &[EventId]) -> Result<Vec<Found>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (room, version) = room;
    let keys: Vec<Vec<u8>> = ids.iter().map(event_key::encode).collect();
    let mut found = Vec::with_capacity(ids.len());
    for row in event_graph::by_ids(tx, &keys)? {
        if row.known.room_nid == room {
            let event = Found::new(row, version)?;
            // Ids of different room versions may have the same stored form.
            if ids.contains(event.pdu.event_id()) {
                found.push(event);
            }
        }
    }
    Ok(found)
}

/// The JSON of events of the room, in the order given; those that were redacted are redacted.
pub async fn pdus(room: &Room, nids: &[EventNid]) -> Result<Vec<String>, DbError> {
    let (wanted, version) = (nids.to_vec(), room.version);
    room.db
        .read(move |tx| {
            let rows = event_graph::by_nids(tx, &wanted)?;
            let mut rows: HashMap<EventNid, GraphEvent> =
                rows.into_iter().map(|row| (row.known.event_nid, row)).collect();
            wanted
                .iter()
                .filter_map(|nid| rows.remove(nid))
                .map(|row| match row.redacted_by {
                    None => Ok(row.json),
                    Some(_) => Ok(redact::redact(&parse(&row, version)?).json().to_owned()),
                })
                .collect()
        })
        .await
}

/// The event of a row, not redacted.
pub(super) fn parse(row: &GraphEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    let place = || format!("events, event_nid {}", row.known.event_nid);
    let event_id =
        event_key::decode(&row.known.event_id, version).map_err(|error| DbError::bad_data(place(), error))?;
    Pdu::from_stored(&row.json, event_id, version).map_err(|error| DbError::bad_data(place(), error))
}
