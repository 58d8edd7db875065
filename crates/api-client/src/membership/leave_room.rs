//! POST /_matrix/client/v3/rooms/{roomId}/leave

use std::sync::Arc;

use plexus_http::room_errors::membership_error;
use plexus_http::{ApiError, AuthGuest, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::MembershipChanger;

use super::OwnRequest;

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(members): State<Arc<MembershipChanger>>,
    Path(room_id): Path<RoomId>,
    JsonOrEmpty(request): JsonOrEmpty<OwnRequest>,
) -> Result<Empty, ApiError> {
    members.leave(request.into_change(&requester, room_id)).await.map_err(membership_error)?;
    Ok(Empty)
}
