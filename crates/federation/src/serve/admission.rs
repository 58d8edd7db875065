//! Checks whether a server may make requests about a room.

use std::sync::Arc;

use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::visibility::HistoryVisibility;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;

use super::ServeError;

/// Returns a room for a server that has joined users in it.
pub(super) async fn room_for_member(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
) -> Result<Arc<Room>, ServeError> {
    // The same error as for a room that the origin is not in: it may not learn which rooms this server knows.
    let room = rooms.get(room).await?.ok_or(ServeError::NotInRoom)?;
    if room.view().is_partial() {
        room.state_requested.notify_one();
    }
    admit_member(&room, origin)?;
    Ok(room)
}

/// Checks that a server has joined users in the room, and that the room's access control list allows it.
pub(super) fn admit_member(room: &Room, origin: &ServerName) -> Result<(), ServeError> {
    let view = room.view();
    if !view.servers.contains(origin.as_str()) {
        return Err(ServeError::NotInRoom);
    }
    // Which events the server's users may see can depend on members that are missing from partial state.
    let all_see = matches!(view.history_visibility, HistoryVisibility::Shared | HistoryVisibility::WorldReadable);
    if view.is_partial() && !all_see {
        return Err(ServeError::UnknownEvent);
    }
    admit(room, origin)
}

/// Returns a room that this server is in, for a server that need not be in it.
pub(super) async fn room_for_outsider(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
) -> Result<Arc<Room>, ServeError> {
    let room = rooms.get(room).await?.ok_or(ServeError::UnknownRoom)?;
    admit(&room, origin)?;
    let view = room.view();
    // With partial state no join can be authorized: as if this server were not in the room.
    if view.local_joined.is_empty() || view.is_partial() {
        return Err(ServeError::UnknownRoom);
    }
    Ok(room)
}

fn admit(room: &Room, origin: &ServerName) -> Result<(), ServeError> {
    if room.view().allows_server(origin) { Ok(()) } else { Err(ServeError::DeniedByAcl) }
}
