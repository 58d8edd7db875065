//! POST /_matrix/client/v3/knock/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::room_errors::{membership_error, resolve_error};
use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, Query, State, require_not_suspended};
use plexus_protocol::id::RoomId;
use plexus_rooms::{MembershipChange, MembershipChanger};
use serde::Serialize;

use plexus_service::{ResolvedRoom, RoomResolver};

use crate::membership::{OwnRequest, Via};

#[derive(Serialize)]
pub(crate) struct Response {
    room_id: RoomId,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(resolver): State<Arc<RoomResolver>>,
    State(members): State<Arc<MembershipChanger>>,
    Path(id_or_alias): Path<String>,
    Query(via): Query<Via>,
    JsonOrEmpty(request): JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    require_not_suspended(&requester)?;
    let ResolvedRoom { room_id, servers } =
        resolver.resolve(&id_or_alias, via.servers()).await.map_err(resolve_error)?;
    let change = MembershipChange { via: servers, ..request.into_change(&requester, room_id.clone()) };
    members.knock(change).await.map_err(membership_error)?;
    Ok(JsonBody(Response { room_id }))
}
