//! POST /_matrix/client/v3/knock/{roomIdOrAlias}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, Query, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::{MembershipChange, MembershipChanger};
use serde::Serialize;

use crate::alias::{Resolved, RoomNames};
use crate::membership::{OwnRequest, Via};
use crate::room_errors::{membership_error, require_not_suspended};

#[derive(Serialize)]
pub struct Response {
    room_id: RoomId,
}

pub async fn handle(
    Auth(requester): Auth,
    State(names): State<Arc<RoomNames>>,
    State(members): State<Arc<MembershipChanger>>,
    Path(id_or_alias): Path<String>,
    Query(via): Query<Via>,
    JsonOrEmpty(request): JsonOrEmpty<OwnRequest>,
) -> Result<JsonBody<Response>, ApiError> {
    require_not_suspended(&requester)?;
    let Resolved { room_id, servers } = names.named(&id_or_alias, via.servers()).await?;
    let change = MembershipChange { via: servers, ..request.into_change(&requester, room_id.clone()) };
    members.knock(change).await.map_err(membership_error)?;
    Ok(JsonBody(Response { room_id }))
}
