//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use std::sync::Arc;

use plexus_http::room_errors::client_event_error;
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, Requester, State, require_not_suspended};
use plexus_protocol::id::RoomId;
use plexus_protocol::json::Object;
use plexus_rooms::{NewEvent, Transaction};
use plexus_service::ClientEventSender;

use crate::sending::{EventSent, transaction};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEventSender>>,
    Path((room_id, event_type, txn_id)): Path<(RoomId, String, String)>,
    Json(content): Json<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let transaction = transaction(&requester, txn_id)?;
    send(&requester, &events, (room_id, event_type), content, transaction).await
}

/// POST /_matrix/client/v3/rooms/{roomId}/send/{eventType}, which Synapse serves beyond the specification: a repeated
/// request sends another event.
pub(crate) async fn without_transaction(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEventSender>>,
    Path(path): Path<(RoomId, String)>,
    Json(content): Json<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    send(&requester, &events, path, content, None).await
}

async fn send(
    requester: &Requester,
    events: &ClientEventSender,
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
    if let Some(event_id) = events.replayed(&event) {
        return Ok(JsonBody(EventSent { event_id }));
    }
    require_not_suspended(requester)?;
    let event_id = events.send(requester, event).await.map_err(client_event_error)?;
    Ok(JsonBody(EventSent { event_id }))
}
