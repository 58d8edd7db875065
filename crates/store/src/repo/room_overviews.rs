//! What a list of rooms is made from, read for many rooms at once.

use crate::pdu_json::UnpackError;
use crate::{Any, DbError, EventNid, Position, RoomNid, Tx, first};

use super::events::unpacked;
use super::interned;

/// Selects the JSON of one state of many rooms.
const STATE_OF_ROOMS: &str = "SELECT c.room_nid, e.json FROM current_state c JOIN events e ON e.event_nid = c.event_nid
     WHERE c.room_nid = ANY($1) AND c.type_nid = $2 AND c.state_key_nid = $3";

/// A room of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    pub room_nid: RoomNid,
    pub room_id: String,
    /// Position of the newest timeline event.
    pub position: Position,
    /// Whether the room has an `m.room.encryption` event.
    pub is_encrypted: bool,
    /// The JSON of the `m.room.create` event, if there is one that can be read.
    pub create: Option<String>,
}

/// Returns rooms by number, in no particular order; unknown numbers are ignored.
pub fn of(tx: &mut Tx<'_>, rooms: &[RoomNid]) -> Result<Vec<Overview>, DbError> {
    let mut overviews = tx.query(
        "SELECT room_nid, room_id, position FROM rooms WHERE room_nid = ANY($1) ORDER BY room_nid",
        &[&Any(rooms)],
        |row| {
            let (room_nid, room_id, position) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Overview { room_nid, room_id, position, is_encrypted: false, create: None })
        },
    )?;
    let Some(key) = interned::find_state_key(tx, "")? else { return Ok(overviews) };
    if let Some(encryption) = interned::find_type(tx, "m.room.encryption")? {
        let encrypted: Vec<RoomNid> = tx.query(
            "SELECT room_nid FROM current_state WHERE room_nid = ANY($1) AND type_nid = $2 AND state_key_nid = $3",
            &[&Any(rooms), &encryption, &key],
            first,
        )?;
        for room in encrypted {
            if let Some(overview) = find(&mut overviews, room) {
                overview.is_encrypted = true;
            }
        }
    }
    if let Some(create) = interned::find_type(tx, "m.room.create")? {
        let creates: Vec<(RoomNid, Result<String, UnpackError>)> =
            tx.query(STATE_OF_ROOMS, &[&Any(rooms), &create, &key], |row| Ok((row.get(0)?, unpacked(row, 1)?)))?;
        for (room, json) in creates {
            if let Some(overview) = find(&mut overviews, room) {
                overview.create = json.ok();
            }
        }
    }
    Ok(overviews)
}

/// Returns the JSON of the `m.room.name` events of rooms, in no particular order; events that cannot be read are left
/// out.
pub fn names(tx: &mut Tx<'_>, rooms: &[RoomNid]) -> Result<Vec<(RoomNid, String)>, DbError> {
    let (Some(key), Some(name)) = (interned::find_state_key(tx, "")?, interned::find_type(tx, "m.room.name")?) else {
        return Ok(Vec::new());
    };
    let names: Vec<(RoomNid, Result<String, UnpackError>)> =
        tx.query(STATE_OF_ROOMS, &[&Any(rooms), &name, &key], |row| Ok((row.get(0)?, unpacked(row, 1)?)))?;
    Ok(names.into_iter().filter_map(|(room, json)| Some((room, json.ok()?))).collect())
}

/// `overviews` is sorted by room.
fn find(overviews: &mut [Overview], room: RoomNid) -> Option<&mut Overview> {
    let at = overviews.binary_search_by_key(&room, |overview| overview.room_nid).ok()?;
    overviews.get_mut(at)
}

/// Returns the position of a room's newest timeline event of one of these types at or before `upto`.
pub fn newest_of_types(
    tx: &mut Tx<'_>,
    room: RoomNid,
    event_types: &[&str],
    upto: Position,
) -> Result<Option<Position>, DbError> {
    let mut types = Vec::with_capacity(event_types.len());
    for event_type in event_types {
        types.extend(interned::find_type(tx, event_type)?);
    }
    tx.query_opt(
        "SELECT position FROM events WHERE room_nid = $1 AND position > 0 AND position <= $2 AND type_nid = ANY($3)
         ORDER BY position DESC LIMIT 1",
        &[&room, &upto, &Any(&types)],
        first,
    )
}

/// Returns the senders of events.
pub fn senders(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<Vec<(EventNid, String)>, DbError> {
    tx.query(
        "SELECT e.event_nid, u.user_id FROM events e JOIN user_ids u ON u.user_nid = e.sender_nid
         WHERE e.event_nid = ANY($1)",
        &[&Any(events)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}
