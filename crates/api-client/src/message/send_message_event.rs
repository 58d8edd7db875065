//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::json::Object;
use plexus_rooms::{EventSender, NewEvent, Transaction};
use serde::Serialize;

use crate::own_echoes::OwnEchoes;
use crate::rate_limits::RateLimits;
use crate::room_errors::{require_not_suspended, send_error};

#[derive(Serialize)]
pub struct Response {
    event_id: EventId,
}

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(sender): State<Arc<EventSender>>,
    State(limits): State<Arc<RateLimits>>,
    State(echoes): State<Arc<OwnEchoes>>,
    Path((room_id, event_type, txn_id)): Path<(RoomId, String, String)>,
    Json(content): Json<Object>,
) -> Result<JsonBody<Response>, ApiError> {
    let user = &requester.user_id;
    let transaction =
        requester.device_id.as_deref().map(|device| Transaction { device_id: device.into(), txn_id: txn_id.into() });
    if let Some(event_id) = transaction.as_ref().and_then(|it| sender.replayed(&room_id, user, it)) {
        return Ok(JsonBody(Response { event_id }));
    }
    require_not_suspended(&requester)?;
    limits.message.check(user)?;
    let event = NewEvent {
        room_id,
        sender: user.clone(),
        event_type,
        state_key: None,
        content,
        redacts: None,
        origin_server_ts: None,
        transaction,
    };
    let _answered_first = echoes.sending(&requester);
    let sent = sender.send(event).await.map_err(send_error)?;
    Ok(JsonBody(Response { event_id: sent.event_id }))
}
