//! POST /_matrix/client/v3/rooms/{roomId}/leave

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, AuthGuest, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::MembershipChanger;

use super::OwnRequest;
use crate::room_errors::membership_error;

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(members): State<Arc<MembershipChanger>>,
    State(config): State<Arc<Config>>,
    Path(room_id): Path<RoomId>,
    JsonOrEmpty(request): JsonOrEmpty<OwnRequest>,
) -> Result<Empty, ApiError> {
    members.leave(request.into_change(&requester, room_id.clone())).await.map_err(membership_error)?;
    if config.rooms.forget_rooms_on_leave {
        members.forget(&room_id, &requester.user_id).await.map_err(membership_error)?;
    }
    Ok(Empty)
}
