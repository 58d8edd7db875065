//! POST /_matrix/client/v3/rooms/{roomId}/unban

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::MembershipChanger;

use super::TargetRequest;
use crate::room_errors::{membership_error, require_not_suspended};

pub async fn handle(
    Auth(requester): Auth,
    State(members): State<Arc<MembershipChanger>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<TargetRequest>,
) -> Result<Empty, ApiError> {
    require_not_suspended(&requester)?;
    members.unban(request.into_change(&requester, room_id)).await.map_err(membership_error)?;
    Ok(Empty)
}
