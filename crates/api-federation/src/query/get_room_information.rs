//! GET /_matrix/federation/v1/query/directory

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Query, State};
use plexus_protocol::id::{RoomAlias, RoomId, ServerName};
use plexus_rooms::Rooms;
use plexus_service::{ResolveError, ResolvedRoom, RoomResolver};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct Request {
    room_alias: RoomAlias,
}

#[derive(Serialize)]
pub(crate) struct Response {
    room_id: RoomId,
    servers: Vec<ServerName>,
}

/// Returns the room that an alias of this server points to, and servers through which it can be joined. An application
/// service may create the alias now.
pub(crate) async fn handle(
    State(rooms): State<Arc<Rooms>>,
    State(resolver): State<Arc<RoomResolver>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let alias = request.room_alias;
    if alias.server_name() != rooms.server_name().as_str() {
        return Err(ApiError::unknown("Room Alias is not hosted on this homeserver"));
    }
    let ResolvedRoom { room_id, servers } = resolver.resolve_alias(&alias).await.map_err(|error| match error {
        ResolveError::UnknownAlias(alias) => ApiError::not_found(format!("Room alias {alias} not found")),
        ResolveError::Db(error) => error.into(),
        error => ApiError::internal(&error),
    })?;
    Ok(JsonBody(Response { room_id, servers }))
}
