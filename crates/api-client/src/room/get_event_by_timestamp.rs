//! GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_http::{ApiError, Auth, JsonBody, Path, Query, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use serde::{Deserialize, Serialize};

use crate::access::readable_room;
use crate::message::get_message_events::direction;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// Unix ms.
    ts: u64,
    dir: String,
}

#[derive(Serialize)]
pub(crate) struct Response {
    event_id: EventId,
    origin_server_ts: u64,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(receiver): State<Arc<PduReceiver>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let direction = direction(&request.dir)?;
    let (room, _) = readable_room(&rooms, &room_id, &requester.user_id).await?;
    let found = receiver.timestamp_to_event(&room, &requester.user_id, request.ts, direction).await;
    let near = found.map_err(|error| ApiError::internal(&error))?.ok_or_else(|| {
        ApiError::not_found(format!("Unable to find event from {} in direction {}", request.ts, request.dir))
    })?;
    Ok(JsonBody(Response { event_id: near.event_id, origin_server_ts: near.origin_server_ts }))
}
