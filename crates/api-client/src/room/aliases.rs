//! GET /_matrix/client/v3/rooms/{roomId}/aliases

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_rooms::timeline::Access;
use plexus_store::{Database, repo};
use serde::Serialize;

use crate::access::readable_room;

#[derive(Serialize)]
pub(crate) struct Response {
    aliases: Vec<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
) -> Result<JsonBody<Response>, ApiError> {
    let (room, access) = readable_room(&rooms, &room_id, &requester.user_id).await?;
    if matches!(access, Access::Until(_)) {
        return Err(ApiError::forbidden(format!("User {} not in room {room_id}", requester.user_id)));
    }
    let nid = room.nid;
    let aliases = db.read(move |tx| repo::aliases::of_room(tx, nid)).await?;
    Ok(JsonBody(Response { aliases }))
}
