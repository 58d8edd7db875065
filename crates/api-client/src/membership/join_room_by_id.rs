//! POST /_matrix/client/v3/rooms/{roomId}/join

use std::sync::Arc;

use plexus_http::room_errors::membership_error;
use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Path, Query, State, require_not_suspended};
use plexus_protocol::id::RoomId;
use plexus_rooms::{MembershipChange, MembershipChanger};
use serde::Serialize;

use super::{OwnRequest, Via};

#[derive(Serialize)]
pub(crate) struct Response {
    pub(super) room_id: RoomId,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(members): State<Arc<MembershipChanger>>,
    Path(room_id): Path<RoomId>,
    Query(via): Query<Via>,
    JsonOrEmpty(request): JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    require_not_suspended(&requester)?;
    let change = MembershipChange { via: via.servers(), ..request.into_change(&requester, room_id.clone()) };
    members.join(change, requester.is_guest).await.map_err(membership_error)?;
    Ok(JsonBody(Response { room_id }))
}
