//! GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags

use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_store::Database;
use plexus_sync::tags;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::access::require_self;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    tags: Map<String, Value>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    Path((user, room)): Path<(UserId, RoomId)>,
) -> Result<JsonBody<Response>, ApiError> {
    require_self(&requester, &user)?;
    let tags = tags::get(&db, &user, room.as_str()).await?;
    Ok(JsonBody(Response { tags }))
}
