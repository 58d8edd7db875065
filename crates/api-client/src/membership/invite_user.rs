//! POST /_matrix/client/v3/rooms/{roomId}/invite

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::{MembershipChange, MembershipChanger};
use serde::Deserialize;

use crate::rate_limits::RateLimits;
use crate::room_errors::{membership_error, require_not_suspended};

#[derive(Debug, Deserialize)]
pub struct Request {
    user_id: Option<UserId>,
    reason: Option<String>,
    /// Present when somebody is invited by address instead.
    medium: Option<String>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(members): State<Arc<MembershipChanger>>,
    State(config): State<Arc<Config>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    require_not_suspended(&requester)?;
    if config.server.block_non_admin_invites && !requester.is_admin {
        return Err(ApiError::forbidden("Invites have been disabled on this server"));
    }
    let Some(target) = request.user_id else {
        return Err(match request.medium {
            Some(_) => ApiError::forbidden("This server does not invite by address: it has no identity server"),
            None => ApiError::missing_param("'user_id' is missing"),
        });
    };
    limits.invites_per_room.check(&room_id)?;
    limits.invites_per_user.check(&target)?;
    limits.invites_per_issuer.check(&requester.user_id)?;
    let change = MembershipChange {
        room_id,
        sender: requester.user_id.clone(),
        target,
        reason: request.reason,
        content: Object::new(),
        via: Vec::new(),
    };
    members.invite(change).await.map_err(membership_error)?;
    Ok(Empty)
}
