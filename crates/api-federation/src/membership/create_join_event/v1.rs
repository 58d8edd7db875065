//! PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}

use std::sync::Arc;

use axum::response::Response;
use plexus_federation::PduReceiver;
use plexus_federation::serve::SentMembership;
use plexus_http::{ApiError, Json, Origin, Path, State};
use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde_json::value::RawValue;

/// As version 2, with the status in the body, and always with the members.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    State(server_name): State<ServerName>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Json(event): Json<Box<RawValue>>,
) -> Result<Response, ApiError> {
    let sent = SentMembership { origin: &origin, room_id: &room_id, event_id: &event_id, json: event.get() };
    super::join(&receiver, &server_name, sent, false, ("[200,", "]")).await
}
