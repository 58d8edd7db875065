//! PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_federation::serve::{self, SentMembership};
use plexus_http::{ApiError, Json, Origin, Path, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use serde_json::value::RawValue;

/// Lets a user of the requesting server knock. Returns the events that describe the room.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    State(rooms): State<Arc<Rooms>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Json(event): Json<Box<RawValue>>,
) -> Result<RawJson, ApiError> {
    let sent = SentMembership { origin: &origin, room_id: &room_id, event_id: &event_id, json: event.get() };
    let knocked = serve::send_knock(&receiver, sent).await.map_err(crate::responses::not_accepted)?;
    let state = serve::stripped_state_events(&rooms, &knocked.room, None).await?;
    Ok(RawJson(format!("{{\"knock_room_state\":[{}]}}", state.join(",")).into()))
}
