//! PUT /_matrix/client/v3/presence/{userId}/status

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::UserId;
use plexus_service::{RateLimits, check_limit};
use plexus_sync::{Presence, PresenceState};
use serde::Deserialize;

use crate::access::require_self;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    presence: String,
    status_msg: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(presence): State<Arc<Presence>>,
    State(limits): State<Arc<RateLimits>>,
    Path(user): Path<UserId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    require_self(&requester, &user)?;
    let state = PresenceState::parse(&request.presence)
        .ok_or_else(|| ApiError::invalid_param("presence must be one of online, unavailable, offline"))?;
    if request.status_msg.as_ref().is_some_and(|text| text.contains('\0')) {
        return Err(ApiError::invalid_param("status_msg must not contain U+0000"));
    }
    check_limit(&limits.presence, &requester)?;
    presence.set(&user, state, request.status_msg.filter(|text| !text.is_empty()))?;
    Ok(Empty)
}
