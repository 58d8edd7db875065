//! GET /_matrix/client/v3/directory/room/{roomAlias}

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Path, State};
use plexus_protocol::id::{RoomAlias, ServerName};
use plexus_rooms::Rooms;
use plexus_rooms::directory::servers_in;
use plexus_store::repo;
use serde::Serialize;

#[derive(Serialize)]
pub struct Response {
    room_id: String,
    servers: Vec<ServerName>,
}

pub async fn handle(
    State(rooms): State<Arc<Rooms>>,
    Path(alias): Path<RoomAlias>,
) -> Result<JsonBody<Response>, ApiError> {
    let text = alias.as_str().to_owned();
    let found = rooms.database().read(move |tx| repo::aliases::get(tx, &text)).await?;
    let found = found.ok_or_else(|| ApiError::not_found(format!("Room alias {alias} not found.")))?;
    let own = rooms.server_name();
    let room = rooms.get_nid(found.room_nid).await?;
    let servers = room.map_or_else(|| vec![own.clone()], |room| servers_in(&room, own));
    Ok(JsonBody(Response { room_id: found.room_id, servers }))
}
