//! PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}

use std::sync::Arc;

use axum::response::Response;
use plexus_federation::PduReceiver;
use plexus_federation::serve::SentMembership;
use plexus_http::{ApiError, Json, Origin, Path, Query, State};
use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    omit_members: bool,
}

/// Lets a user of the requesting server join. Returns the state before the join.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    State(server_name): State<ServerName>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Query(request): Query<Request>,
    Json(event): Json<Box<RawValue>>,
) -> Result<Response, ApiError> {
    let sent = SentMembership { origin: &origin, room_id: &room_id, event_id: &event_id, json: event.get() };
    super::join(&receiver, &server_name, sent, request.omit_members, ("", "")).await
}
