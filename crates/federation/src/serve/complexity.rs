//! Serves the complexity of rooms, by which other servers decide whether to join.

use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::visibility::HistoryVisibility;
use plexus_rooms::actions::membership::complexity;
use plexus_rooms::model::rooms::Rooms;

use super::ServeError;
use super::admission::room_for_outsider;

/// `GET /rooms/{roomId}/complexity`, for rooms that everybody may join or read.
///
/// # Errors
/// See [`ServeError`].
pub async fn complexity(rooms: &Rooms, origin: &ServerName, room: &RoomId) -> Result<f64, ServeError> {
    let room = room_for_outsider(rooms, origin, room).await?;
    let view = room.view();
    if view.join_rule != JoinRule::Public && view.history_visibility != HistoryVisibility::WorldReadable {
        return Err(ServeError::UnknownRoom);
    }
    Ok(complexity::complexity(&view))
}
