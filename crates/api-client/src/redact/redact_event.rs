//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use std::sync::Arc;

use plexus_http::room_errors::client_event_error;
use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, Requester, State, require_not_suspended};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::json::Object;
use plexus_rooms::{NewEvent, Transaction};
use plexus_service::ClientEventSender;

use crate::sending::{EventSent, transaction};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(events): State<Arc<ClientEventSender>>,
    Path((room_id, event_id, txn_id)): Path<(RoomId, EventId, String)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let transaction = transaction(&requester, txn_id)?;
    redact(&requester, &events, (room_id, event_id), content, transaction).await
}

/// POST /_matrix/client/v3/rooms/{roomId}/redact/{eventId}, which Synapse serves beyond the specification: a repeated
/// request makes another redaction.
pub(crate) async fn without_transaction(
    Auth(requester): Auth,
    State(events): State<Arc<ClientEventSender>>,
    Path(path): Path<(RoomId, EventId)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    redact(&requester, &events, path, content, None).await
}

async fn redact(
    requester: &Requester,
    events: &ClientEventSender,
    (room_id, event_id): (RoomId, EventId),
    content: Object,
    transaction: Option<Transaction>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let event = NewEvent {
        room_id,
        sender: requester.user_id.clone(),
        event_type: "m.room.redaction".to_owned(),
        state_key: None,
        content,
        redacts: Some(event_id),
        origin_server_ts: None,
        sticky_duration_ms: None,
        transaction,
    };
    if let Some(event_id) = events.replayed(&event) {
        return Ok(JsonBody(EventSent { event_id }));
    }
    if requester.suspended && !events.redacts_own(&event).await? {
        // Suspended users may redact their own events, and no others.
        require_not_suspended(requester)?;
    }
    let event_id = events.send(requester, event).await.map_err(client_event_error)?;
    Ok(JsonBody(EventSent { event_id }))
}
