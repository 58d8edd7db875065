//! POST /_matrix/client/v3/rooms/{roomId}/invite

use std::sync::Arc;

use plexus_http::room_errors::membership_error;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State, require_not_suspended};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::MembershipChanger;
use serde::Deserialize;

use super::TargetRequest;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    user_id: Option<UserId>,
    reason: Option<String>,
    /// Present when somebody is invited by an address instead of a user id.
    medium: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(members): State<Arc<MembershipChanger>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    require_not_suspended(&requester)?;
    let Some(target) = request.user_id else {
        return Err(match request.medium {
            Some(_) => ApiError::forbidden("This server does not invite by address: it has no identity server"),
            None => ApiError::missing_param("'user_id' is missing"),
        });
    };
    if requester.shadow_banned {
        return Ok(Empty);
    }
    let invited = TargetRequest { user_id: target, reason: request.reason };
    members.invite(invited.into_change(&requester, room_id)).await.map_err(membership_error)?;
    Ok(Empty)
}
