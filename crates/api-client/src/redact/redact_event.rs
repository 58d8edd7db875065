//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::json::Object;
use plexus_rooms::NewEvent;

use crate::client_events::{ClientEvents, EventSent, transaction};
use crate::room_errors::require_not_suspended;

pub async fn handle(
    Auth(requester): Auth,
    State(events): State<Arc<ClientEvents>>,
    Path((room_id, event_id, txn_id)): Path<(RoomId, EventId, String)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let event = NewEvent {
        room_id,
        sender: requester.user_id.clone(),
        event_type: "m.room.redaction".to_owned(),
        state_key: None,
        content,
        redacts: Some(event_id),
        origin_server_ts: None,
        transaction: transaction(&requester, txn_id)?,
    };
    if requester.suspended && !events.redacts_own(&event).await? {
        // The suspended may take back what they said, and nothing else.
        require_not_suspended(&requester)?;
    }
    events.send(&requester, event, |_| Ok(())).await.map(JsonBody)
}
