//! POST /_matrix/client/v3/knock/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::{MembershipChanger, Rooms};
use serde::Serialize;

use crate::event_json::room_by_id_or_alias;
use crate::membership::OwnRequest;
use crate::rate_limits::RateLimits;
use crate::room_errors::{membership_error, require_not_suspended};

#[derive(Serialize)]
pub struct Response {
    room_id: RoomId,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(members): State<Arc<MembershipChanger>>,
    State(limits): State<Arc<RateLimits>>,
    Path(id_or_alias): Path<String>,
    JsonOrEmpty(request): JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    require_not_suspended(&requester)?;
    let room = room_by_id_or_alias(&rooms, &id_or_alias).await?;
    limits.joins_local.check(&requester.user_id)?;
    let room_id = room.id.clone();
    members.knock(request.into_change(&requester, room_id.clone())).await.map_err(membership_error)?;
    Ok(JsonBody(Response { room_id }))
}
