//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, State};
use plexus_protocol::id::RoomId;
use plexus_protocol::json::Object;
use plexus_rooms::NewEvent;

use crate::client_events::{ClientEvents, EventSent, transaction};
use crate::room_errors::require_not_suspended;

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEvents>>,
    Path((room_id, event_type, txn_id)): Path<(RoomId, String, String)>,
    Json(content): Json<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let event = NewEvent {
        room_id,
        sender: requester.user_id.clone(),
        event_type,
        state_key: None,
        content,
        redacts: None,
        origin_server_ts: None,
        transaction: transaction(&requester, txn_id)?,
    };
    events.send(&requester, event, require_not_suspended).await.map(JsonBody)
}
