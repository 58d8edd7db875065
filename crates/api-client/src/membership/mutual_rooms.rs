//! GET /_matrix/client/v1/mutual_rooms, and the form of MSC2666 that matrix-js-sdk uses

use std::collections::HashSet;
use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, Query, State, non_empty};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_store::RoomNid;
use serde::{Deserialize, Serialize};

/// The most rooms of one response.
const MAX_ROOMS: usize = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    user_id: UserId,
    #[serde(default, alias = "batch_token", deserialize_with = "non_empty")]
    from: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    joined: Vec<RoomId>,
    /// How many there are in all.
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct UnstableResponse {
    joined: Vec<RoomId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch_token: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    Ok(JsonBody(mutual_rooms(&requester.user_id, &rooms, request).await?))
}

pub(crate) async fn unstable(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<UnstableResponse>, ApiError> {
    let Response { joined, next_batch, .. } = mutual_rooms(&requester.user_id, &rooms, request).await?;
    Ok(JsonBody(UnstableResponse { joined, next_batch_token: next_batch }))
}

async fn mutual_rooms(user: &UserId, rooms: &Rooms, request: Request) -> Result<Response, ApiError> {
    let Request { user_id: other, from } = request;
    if other == *user {
        return Err(ApiError::invalid_param("You cannot request a list of shared rooms with yourself"));
    }
    let from = from.map(|from| from.parse::<RoomNid>()).transpose();
    let after = from.map_err(|_| ApiError::invalid_param("from is not a token of this endpoint"))?;
    let own: HashSet<RoomNid> = rooms.memberships().of(user).await?.joined().collect();
    let theirs = rooms.memberships().of(&other).await?;
    let mut shared: Vec<RoomNid> = theirs.joined().filter(|nid| own.contains(nid)).collect();
    let count = shared.len();
    // In the order of their numbers, so that rooms that are joined meanwhile do not move others to another page.
    shared.sort_unstable();
    shared.retain(|nid| after.is_none_or(|after| *nid > after));
    let is_last = shared.len() <= MAX_ROOMS;
    shared.truncate(MAX_ROOMS);
    let next_batch = shared.last().filter(|_| !is_last).map(RoomNid::to_string);
    Ok(Response { joined: rooms.ids(&shared).await?, count, next_batch })
}
