//! What many endpoints check first.

use std::sync::Arc;

use plexus_http::{ApiError, Requester};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::{MembershipKind, Room, Rooms};

/// 403 unless the user named in the path is the one who asks.
pub(crate) fn require_self(requester: &Requester, user: &UserId) -> Result<(), ApiError> {
    if requester.user_id == *user {
        return Ok(());
    }
    Err(ApiError::forbidden("This belongs to another user"))
}

/// The room, 403 unless the user is in it.
pub(crate) async fn require_joined(rooms: &Rooms, room_id: &RoomId, user: &UserId) -> Result<Arc<Room>, ApiError> {
    let room = rooms.get(room_id).await?;
    let joined = |room: &Arc<Room>| room.view().state.membership(user.as_str()) == Some(MembershipKind::Join);
    room.filter(joined).ok_or_else(|| ApiError::forbidden(format!("User {user} not in room {room_id}")))
}

/// 400 for text that the database cannot hold.
pub(crate) fn require_text(name: &'static str, text: &str) -> Result<(), ApiError> {
    if text.contains('\0') {
        return Err(ApiError::invalid_param(format!("{name} must not contain U+0000")));
    }
    Ok(())
}
