//! PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_store::Database;
use plexus_sync::tags;
use serde_json::{Map, Value};

use crate::access::require_self;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    Path((user, room_id, tag)): Path<(UserId, RoomId, String)>,
    Json(info): Json<Map<String, Value>>,
) -> Result<Empty, ApiError> {
    require_self(&requester, &user)?;
    let room = rooms.get(&room_id).await?.ok_or_else(|| ApiError::not_found("Unknown room"))?;
    tags::set(&db, &user, &room, tag, info).await?;
    Ok(Empty)
}
