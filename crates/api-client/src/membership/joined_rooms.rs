//! GET /_matrix/client/v3/joined_rooms

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_store::RoomNid;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    joined_rooms: Vec<RoomId>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
) -> Result<JsonBody<Response>, ApiError> {
    let joined: Vec<RoomNid> = rooms.memberships().of(&requester.user_id).await?.joined().collect();
    let joined_rooms = rooms.ids(&joined).await?;
    Ok(JsonBody(Response { joined_rooms }))
}
