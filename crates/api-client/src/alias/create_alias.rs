//! PUT /_matrix/client/v3/directory/room/{roomAlias}

use std::sync::Arc;

use plexus_base::AppServices;
use plexus_base::config::Config;
use plexus_http::room_errors::{limit_error, room_directory_error};
use plexus_http::{ApiError, Auth, Empty, Json, Path, State, require_not_suspended};
use plexus_protocol::id::{RoomAlias, RoomId};
use plexus_rooms::Rooms;
use plexus_service::{DirectoryRules, RoomDirectory};
use serde::Deserialize;

use super::{require_alias_allowed, require_local};
use crate::access::require_joined;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    room_id: RoomId,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(directory): State<RoomDirectory>,
    State(config): State<Arc<Config>>,
    State(app_services): State<Arc<AppServices>>,
    Path(alias): Path<RoomAlias>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    require_not_suspended(&requester)?;
    require_local(&alias, rooms.server_name())?;
    require_alias_allowed(&app_services, &requester, &alias)?;
    let Some(room) = rooms.get(&request.room_id).await? else {
        return Err(ApiError::not_found("Unknown room"));
    };
    let is_service = requester.acting_service.is_some();
    if config.blocking.require_membership_for_aliases && !requester.is_admin && !is_service {
        require_joined(&rooms, &request.room_id, &requester.user_id).await?;
    }
    let rules = DirectoryRules::alias_creation(&config);
    if !is_service && !rules.allow(&requester.user_id, &[alias.as_str()], room.id.as_str()) {
        return Err(ApiError::forbidden("Not allowed to create alias"));
    }
    if let Some(refusal) = rooms.entry_refusal(&room.id).await? {
        return Err(limit_error(refusal));
    }
    let added = directory.add_alias(&requester.user_id, &alias, &room, requester.is_admin || is_service).await;
    added.map_err(room_directory_error)?;
    Ok(Empty)
}
