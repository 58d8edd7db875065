//! Who may ask about a room at all.

use std::sync::Arc;

use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::visibility::HistoryVisibility;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;

use super::ServeError;

/// A room for a server that has joined users in it.
pub(super) async fn room_for_member(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
) -> Result<Arc<Room>, ServeError> {
    // The same error as for a room that the origin is not in: it may not learn which rooms this server knows.
    let room = rooms.get(room).await?.ok_or(ServeError::NotInRoom)?;
    if room.view().is_partial() {
        room.wanted.notify_one();
    }
    admit_member(&room, origin)?;
    Ok(room)
}

/// Refuses a server that has no joined users in the room, or that the room keeps out.
pub(super) fn admit_member(room: &Room, origin: &ServerName) -> Result<(), ServeError> {
    let view = room.view();
    if !view.servers.contains(origin.as_str()) {
        return Err(ServeError::NotInRoom);
    }
    // Who sees what may depend on members that are not known yet.
    let all_see = matches!(view.history_visibility, HistoryVisibility::Shared | HistoryVisibility::WorldReadable);
    if view.is_partial() && !all_see {
        return Err(ServeError::UnknownEvent);
    }
    admit(room, origin)
}

/// A room that this server is in, for a server that wants something of it from outside.
pub(super) async fn room_for_outsider(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
) -> Result<Arc<Room>, ServeError> {
    let room = rooms.get(room).await?.ok_or(ServeError::UnknownRoom)?;
    admit(&room, origin)?;
    let view = room.view();
    // With partial state nobody can be admitted and members are unknown: as if this server were not in the room.
    if view.local_joined.is_empty() || view.is_partial() {
        return Err(ServeError::UnknownRoom);
    }
    Ok(room)
}

fn admit(room: &Room, origin: &ServerName) -> Result<(), ServeError> {
    if room.view().allows_server(origin) { Ok(()) } else { Err(ServeError::DeniedByAcl) }
}
