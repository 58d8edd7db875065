//! PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_federation::serve::{self, SentMembership};
use plexus_http::{ApiError, Empty, Json, Origin, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use serde_json::value::RawValue;

/// Lets a user of the requesting server leave, or reject an invite.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    Json(event): Json<Box<RawValue>>,
) -> Result<Empty, ApiError> {
    let sent = SentMembership { origin: &origin, room_id: &room_id, event_id: &event_id, json: event.get() };
    serve::send_leave(&receiver, sent).await.map_err(crate::responses::not_accepted)?;
    Ok(Empty)
}
