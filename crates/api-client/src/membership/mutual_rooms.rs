//! GET /_matrix/client/v1/mutual_rooms

use std::collections::HashSet;
use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, Query, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_store::RoomNid;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    user_id: UserId,
}

#[derive(Serialize)]
pub(crate) struct Response {
    joined: Vec<RoomId>,
    /// How many there are: all of them are in `joined`.
    count: usize,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    if request.user_id == requester.user_id {
        return Err(ApiError::invalid_param("You cannot request a list of shared rooms with yourself"));
    }
    let own: HashSet<RoomNid> = rooms.memberships().of(&requester.user_id).await?.joined().collect();
    let theirs = rooms.memberships().of(&request.user_id).await?;
    let shared: Vec<RoomNid> = theirs.joined().filter(|nid| own.contains(nid)).collect();
    let joined = rooms.ids(&shared).await?;
    Ok(JsonBody(Response { count: joined.len(), joined }))
}
