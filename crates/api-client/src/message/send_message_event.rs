//! PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}

use std::sync::Arc;

use plexus_http::room_errors::client_event_error;
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, Query, Requester, State, require_not_suspended};
use plexus_protocol::id::RoomId;
use plexus_protocol::json::Object;
use plexus_rooms::{NewEvent, Rooms, Transaction};
use plexus_service::{ClientEventSender, DelayedEvents};
use serde::Deserialize;

use crate::delayed_events::{Delay, delayed_by};
use crate::sending::{Sent, Sticky, Timestamp, transaction};

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    #[serde(flatten)]
    delay: Delay,
    #[serde(flatten)]
    sticky: Sticky,
    #[serde(flatten)]
    timestamp: Timestamp,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEventSender>>,
    State(delayed): State<DelayedEvents>,
    State(rooms): State<Arc<Rooms>>,
    Path((room_id, event_type, txn_id)): Path<(RoomId, String, String)>,
    Query(parameters): Query<Parameters>,
    Json(content): Json<Object>,
) -> Result<JsonBody<Sent>, ApiError> {
    let transaction = transaction(&requester, txn_id)?;
    let event = new_event(&requester, (room_id, event_type), content, transaction);
    let event = NewEvent {
        sticky_duration_ms: parameters.sticky.duration_ms(&rooms)?,
        origin_server_ts: parameters.timestamp.of(&requester)?,
        ..event
    };
    if let Some(delay_ms) = parameters.delay.ms()? {
        return delayed_by(&requester, &delayed, event, delay_ms).await;
    }
    send(&requester, &events, event).await
}

/// POST /_matrix/client/v3/rooms/{roomId}/send/{eventType}, which Synapse serves beyond the specification: a repeated
/// request sends another event.
pub(crate) async fn without_transaction(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEventSender>>,
    State(delayed): State<DelayedEvents>,
    State(rooms): State<Arc<Rooms>>,
    Path(path): Path<(RoomId, String)>,
    Query(parameters): Query<Parameters>,
    Json(content): Json<Object>,
) -> Result<JsonBody<Sent>, ApiError> {
    let event = new_event(&requester, path, content, None);
    let event = NewEvent {
        sticky_duration_ms: parameters.sticky.duration_ms(&rooms)?,
        origin_server_ts: parameters.timestamp.of(&requester)?,
        ..event
    };
    if let Some(delay_ms) = parameters.delay.ms()? {
        return delayed_by(&requester, &delayed, event, delay_ms).await;
    }
    send(&requester, &events, event).await
}

fn new_event(
    requester: &Requester,
    (room_id, event_type): (RoomId, String),
    content: Object,
    transaction: Option<Transaction>,
) -> NewEvent {
    NewEvent {
        room_id,
        sender: requester.user_id.clone(),
        event_type,
        state_key: None,
        content,
        redacts: None,
        origin_server_ts: None,
        sticky_duration_ms: None,
        transaction,
    }
}

async fn send(requester: &Requester, events: &ClientEventSender, event: NewEvent) -> Result<JsonBody<Sent>, ApiError> {
    if let Some(event_id) = events.replayed(&event) {
        return Ok(JsonBody(Sent::Now { event_id }));
    }
    require_not_suspended(requester)?;
    let event_id = events.send(requester, event).await.map_err(client_event_error)?;
    Ok(JsonBody(Sent::Now { event_id }))
}
