//! POST /_matrix/client/v3/rooms/{roomId}/ban

use std::sync::Arc;

use plexus_http::room_errors::membership_error;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State, require_not_suspended};
use plexus_protocol::id::RoomId;
use plexus_rooms::MembershipChanger;

use super::TargetRequest;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(members): State<Arc<MembershipChanger>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<TargetRequest>,
) -> Result<Empty, ApiError> {
    require_not_suspended(&requester)?;
    members.ban(request.into_change(&requester, room_id)).await.map_err(membership_error)?;
    Ok(Empty)
}
