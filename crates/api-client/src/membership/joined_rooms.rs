//! GET /_matrix/client/v3/joined_rooms

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use serde::Serialize;

#[derive(Serialize)]
pub struct Response {
    joined_rooms: Vec<RoomId>,
}

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
) -> Result<JsonBody<Response>, ApiError> {
    let mut joined_rooms = Vec::new();
    for nid in rooms.memberships().of(&requester.user_id).await?.joined() {
        if let Some(room) = rooms.get_nid(nid).await? {
            joined_rooms.push(room.id.clone());
        }
    }
    Ok(JsonBody(Response { joined_rooms }))
}
