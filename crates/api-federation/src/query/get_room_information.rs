//! GET /_matrix/federation/v1/query/directory

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Query, State};
use plexus_protocol::id::{RoomAlias, ServerName};
use plexus_rooms::Rooms;
use plexus_rooms::directory::servers_in;
use plexus_store::repo;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub struct Request {
    room_alias: RoomAlias,
}

#[derive(Serialize)]
pub struct Response {
    room_id: String,
    servers: Vec<ServerName>,
}

/// The room that an alias of this server points to, and servers through which it can be joined.
pub async fn handle(
    State(rooms): State<Arc<Rooms>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let alias = request.room_alias;
    if alias.server_name() != rooms.server_name().as_str() {
        return Err(ApiError::unknown("Room Alias is not hosted on this homeserver"));
    }
    let not_found = || ApiError::not_found(format!("Room alias {alias} not found"));
    let text = alias.as_str().to_owned();
    let found = rooms.database().read(move |tx| repo::aliases::get(tx, &text)).await?.ok_or_else(not_found)?;
    let room = rooms.get_nid(found.room_nid).await?.ok_or_else(not_found)?;
    Ok(JsonBody(Response { room_id: found.room_id, servers: servers_in(&room, rooms.server_name()) }))
}
