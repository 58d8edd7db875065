//! `bump_stamp`: the position of the newest event that clients order rooms by.

use plexus_rooms::{Room, RoomView, TimelineEvent};
use plexus_store::{DbError, Position, repo};

/// The events that move a room to the top (MSC4186, `bump_stamp`).
const TYPES: [&str; 7] = [
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "m.beacon_info",
];

/// Whether an event moves its room to the top. Events that were fetched from before this server came have a negative
/// position, which does not compare.
pub(super) fn is_bump(event: &TimelineEvent) -> bool {
    event.position > 0 && TYPES.contains(&event.pdu.event_type())
}

/// Returns the bump stamp of a room as of a position: that of the user's own join if no event counts.
pub(super) async fn of(room: &Room, view: &RoomView, upto: Position, joined: Position) -> Result<Position, DbError> {
    let recent = view.recent.iter().rev().filter(|event| event.position <= upto);
    if let Some(event) = recent.into_iter().find(|event| is_bump(event)) {
        return Ok(event.position);
    }
    let (nid, upto) = (room.nid, upto.min(view.recent_after));
    if upto <= 0 {
        return Ok(joined);
    }
    let stored = room.db.read(move |tx| repo::room_overviews::newest_of_types(tx, nid, &TYPES, upto)).await?;
    Ok(stored.unwrap_or(joined))
}
