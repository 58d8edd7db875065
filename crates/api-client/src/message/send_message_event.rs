//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, Requester, State};
use plexus_protocol::id::RoomId;
use plexus_protocol::json::Object;
use plexus_rooms::{NewEvent, Transaction};

use crate::client_events::{ClientEvents, EventSent, transaction};
use crate::room_errors::require_not_suspended;

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEvents>>,
    Path((room_id, event_type, txn_id)): Path<(RoomId, String, String)>,
    Json(content): Json<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let transaction = transaction(&requester, txn_id)?;
    send(&requester, &events, (room_id, event_type), content, transaction).await
}

/// POST /_matrix/client/v3/rooms/{roomId}/send/{eventType}, which Synapse serves beyond the specification: sent again,
/// the request makes another event.
pub async fn without_transaction(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEvents>>,
    Path(path): Path<(RoomId, String)>,
    Json(content): Json<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    send(&requester, &events, path, content, None).await
}

async fn send(
    requester: &Requester,
    events: &ClientEvents,
    (room_id, event_type): (RoomId, String),
    content: Object,
    transaction: Option<Transaction>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let event = NewEvent {
        room_id,
        sender: requester.user_id.clone(),
        event_type,
        state_key: None,
        content,
        redacts: None,
        origin_server_ts: None,
        transaction,
    };
    events.send(requester, event, require_not_suspended).await.map(JsonBody)
}
