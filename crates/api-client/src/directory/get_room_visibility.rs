//! GET /_matrix/client/v3/directory/list/room/{roomId}

use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_store::{Database, repo};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    visibility: &'static str,
}

pub(crate) async fn handle(
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
) -> Result<JsonBody<Response>, ApiError> {
    let room = rooms.get(&room_id).await?.ok_or_else(|| ApiError::not_found("Unknown room"))?;
    let nid = room.nid;
    let published = db.read(move |tx| repo::rooms::is_published(tx, nid)).await?;
    Ok(JsonBody(Response { visibility: if published { "public" } else { "private" } }))
}
