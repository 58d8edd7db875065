//! POST /_matrix/client/v3/rooms/{roomId}/join

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Path, Query, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::{MembershipChange, MembershipChanger, Rooms};
use serde::Serialize;

use super::{OwnRequest, Via};
use crate::rate_limits::RateLimits;
use crate::room_errors::{membership_error, require_not_suspended};

#[derive(Serialize)]
pub struct Response {
    pub(super) room_id: RoomId,
}

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(members): State<Arc<MembershipChanger>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<RoomId>,
    Query(via): Query<Via>,
    JsonOrEmpty(request): JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    require_not_suspended(&requester)?;
    match rooms.get(&room_id).await? {
        Some(room) if !room.view().local_joined.is_empty() => limits.joins_local.check(&requester.user_id)?,
        _ => limits.joins_remote.check(&requester.user_id)?,
    }
    limits.joins_per_room.check(&room_id)?;
    let change = MembershipChange { via: via.servers(), ..request.into_change(&requester, room_id.clone()) };
    members.join(change, requester.is_guest).await.map_err(membership_error)?;
    Ok(JsonBody(Response { room_id }))
}
