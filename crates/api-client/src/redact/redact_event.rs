//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, Requester, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::json::Object;
use plexus_rooms::{NewEvent, Transaction};

use crate::client_events::{ClientEvents, EventSent, transaction};
use crate::room_errors::require_not_suspended;

pub async fn handle(
    Auth(requester): Auth,
    State(events): State<Arc<ClientEvents>>,
    Path((room_id, event_id, txn_id)): Path<(RoomId, EventId, String)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let transaction = transaction(&requester, txn_id)?;
    redact(&requester, &events, (room_id, event_id), content, transaction).await
}

/// POST /_matrix/client/v3/rooms/{roomId}/redact/{eventId}, which Synapse serves beyond the specification: sent again,
/// the request makes another redaction.
pub async fn without_transaction(
    Auth(requester): Auth,
    State(events): State<Arc<ClientEvents>>,
    Path(path): Path<(RoomId, EventId)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    redact(&requester, &events, path, content, None).await
}

async fn redact(
    requester: &Requester,
    events: &ClientEvents,
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
        transaction,
    };
    if requester.suspended && !events.redacts_own(&event).await? {
        // The suspended may take back what they said, and nothing else.
        require_not_suspended(requester)?;
    }
    events.send(requester, event, |_| Ok(())).await.map(JsonBody)
}
