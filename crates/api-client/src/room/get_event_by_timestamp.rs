//! GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, Path, Query, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Rooms, timeline};
use serde::{Deserialize, Serialize};

use crate::event_json::readable_room;
use crate::message::get_message_events::direction;

#[derive(Debug, Deserialize)]
pub struct Request {
    /// Unix ms.
    ts: u64,
    dir: String,
}

#[derive(Serialize)]
pub struct Response {
    event_id: EventId,
    origin_server_ts: u64,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let direction = direction(&request.dir)?;
    let (room, _) = readable_room(&rooms, &room_id, &requester.user_id).await?;
    let not_found =
        || ApiError::not_found(format!("Unable to find event from {} in direction {}", request.ts, request.dir));
    let event = timeline::event_near(&room, request.ts, direction).await?.ok_or_else(not_found)?;
    let visible = timeline::visible(&requester.user_id, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    let pdu = &visible.event.pdu;
    Ok(JsonBody(Response { event_id: pdu.event_id().clone(), origin_server_ts: pdu.origin_server_ts() }))
}
