//! POST /_matrix/client/v3/rooms/{roomId}/upgrade

use std::sync::Arc;

use plexus_http::room_errors::create_error;
use plexus_http::{ApiError, Auth, Json, JsonBody, Path, State, require_not_suspended};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::upgrade::{Upgrade, upgrade};
use plexus_rooms::{RoomCreator, Rooms};
use plexus_service::{RateLimits, check_limit};
use serde::{Deserialize, Serialize};

use super::create_room::supported_version;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<UserId>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    replacement_room: RoomId,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(creator): State<Arc<RoomCreator>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    require_not_suspended(&requester)?;
    let version = supported_version(&request.new_version)?;
    let room = rooms.get(&room_id).await?.ok_or_else(|| ApiError::not_found("Unknown room"))?;
    check_limit(&limits.room_creation, &requester)?;
    if requester.shadow_banned {
        // An id that no room has.
        let replacement_room = creator.new_room_id().map_err(create_error)?;
        return Ok(JsonBody(Response { replacement_room }));
    }
    let additional_creators =
        if version.rules().auth.privileged_creators { request.additional_creators } else { Vec::new() };
    let wanted = Upgrade { room, sender: requester.user_id.clone(), version, additional_creators };
    let new = upgrade(&creator, wanted).await.map_err(create_error)?;
    Ok(JsonBody(Response { replacement_room: new.id.clone() }))
}
