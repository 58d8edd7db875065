//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}

use std::sync::Arc;

use plexus_http::room_errors::client_event_error;
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, Query, State, require_not_suspended};
use plexus_protocol::id::RoomId;
use plexus_protocol::json::Object;
use plexus_rooms::{NewEvent, Rooms};
use plexus_service::{ClientEventSender, DelayedEvents};
use serde::Deserialize;

use crate::delayed_events::{Delay, delayed_by};
use crate::sending::{Sent, Sticky, Timestamp};

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
    Path((room_id, event_type, state_key)): Path<(RoomId, String, String)>,
    Query(parameters): Query<Parameters>,
    Json(content): Json<Object>,
) -> Result<JsonBody<Sent>, ApiError> {
    let event = NewEvent {
        room_id,
        sender: requester.user_id.clone(),
        event_type,
        state_key: Some(state_key),
        content,
        redacts: None,
        origin_server_ts: parameters.timestamp.of(&requester)?,
        sticky_duration_ms: parameters.sticky.duration_ms(&rooms)?,
        transaction: None,
    };
    require_not_suspended(&requester)?;
    if let Some(delay_ms) = parameters.delay.ms()? {
        return delayed_by(&requester, &delayed, event, delay_ms).await;
    }
    let event_id = events.send(&requester, event).await.map_err(client_event_error)?;
    Ok(JsonBody(Sent::Now { event_id }))
}

/// As [`handle`], with an empty state key, which the path may leave out.
pub(crate) async fn without_key(
    auth: AuthGuest,
    events: State<Arc<ClientEventSender>>,
    delayed: State<DelayedEvents>,
    rooms: State<Arc<Rooms>>,
    Path((room_id, event_type)): Path<(RoomId, String)>,
    parameters: Query<Parameters>,
    content: Json<Object>,
) -> Result<JsonBody<Sent>, ApiError> {
    handle(auth, events, delayed, rooms, Path((room_id, event_type, String::new())), parameters, content).await
}
