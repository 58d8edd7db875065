//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::json::Object;
use plexus_rooms::{EventSender, NewEvent, Transaction};
use serde::Serialize;

use crate::own_echoes::OwnEchoes;
use crate::rate_limits::RateLimits;
use crate::room_errors::send_error;

#[derive(Serialize)]
pub struct Response {
    event_id: EventId,
}

pub async fn handle(
    Auth(requester): Auth,
    State(sender): State<Arc<EventSender>>,
    State(limits): State<Arc<RateLimits>>,
    State(echoes): State<Arc<OwnEchoes>>,
    Path((room_id, event_id, txn_id)): Path<(RoomId, EventId, String)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<Response>, ApiError> {
    let user = &requester.user_id;
    let transaction =
        requester.device_id.as_deref().map(|device| Transaction { device_id: device.into(), txn_id: txn_id.into() });
    if let Some(event_id) = transaction.as_ref().and_then(|it| sender.replayed(&room_id, user, it)) {
        return Ok(JsonBody(Response { event_id }));
    }
    limits.message.check(user)?;
    let event = NewEvent {
        room_id,
        sender: user.clone(),
        event_type: "m.room.redaction".to_owned(),
        state_key: None,
        content,
        redacts: Some(event_id),
        origin_server_ts: None,
        transaction,
    };
    let _answered_first = echoes.sending(&requester);
    let sent = sender.send(event).await.map_err(send_error)?;
    Ok(JsonBody(Response { event_id: sent.event_id }))
}
