//! GET /_matrix/client/v1/mutual_rooms

use std::collections::HashSet;
use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, Query, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_store::RoomNid;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub struct Request {
    user_id: UserId,
}

#[derive(Serialize)]
pub struct Response {
    joined: Vec<RoomId>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    if request.user_id == requester.user_id {
        return Err(ApiError::invalid_param("You cannot request a list of shared rooms with yourself"));
    }
    let own: HashSet<RoomNid> = rooms.memberships().of(&requester.user_id).await?.joined().collect();
    let mut joined = Vec::new();
    for nid in rooms.memberships().of(&request.user_id).await?.joined().filter(|nid| own.contains(nid)) {
        if let Some(room) = rooms.get_nid(nid).await? {
            joined.push(room.id.clone());
        }
    }
    Ok(JsonBody(Response { joined }))
}
