//! GET /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRootId}/subscription

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use plexus_sync::ThreadSubscriptions;
use serde::Serialize;

use super::{NO_ROOT, require_enabled, visible_event};

#[derive(Serialize)]
pub(crate) struct Response {
    automatic: bool,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(subscriptions): State<ThreadSubscriptions>,
    Path((room_id, root)): Path<(RoomId, EventId)>,
) -> Result<JsonBody<Response>, ApiError> {
    require_enabled(&subscriptions)?;
    let (room, _) = visible_event(&rooms, &requester, &room_id, &root, NO_ROOT).await?;
    let found = subscriptions.get(&requester.user_id, room.nid, root.as_str()).await?;
    let found = found.ok_or_else(|| ApiError::not_found("Not subscribed."))?;
    Ok(JsonBody(Response { automatic: found.automatic }))
}
