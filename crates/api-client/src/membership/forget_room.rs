//! POST /_matrix/client/v3/rooms/{roomId}/forget

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, Empty, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::{MembershipChanger, MembershipError};

use plexus_http::room_errors::membership_error;

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(members): State<Arc<MembershipChanger>>,
    Path(room_id): Path<RoomId>,
) -> Result<Empty, ApiError> {
    match members.forget(&room_id, &requester.user_id).await {
        Ok(()) => Ok(Empty),
        Err(MembershipError::StillInRoom) => {
            Err(ApiError::unknown(format!("User {} is in room {room_id}", requester.user_id)))
        }
        Err(error) => Err(membership_error(error)),
    }
}
