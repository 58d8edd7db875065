//! PUT /_matrix/client/v3/rooms/{roomId}/delayed_event/{eventType}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, Query, Requester, State};
use plexus_protocol::id::RoomId;
use plexus_protocol::json::Object;
use plexus_rooms::Rooms;
use plexus_service::DelayedEvents;
use plexus_service::delayed_events::NewDelayedEvent;
use serde::{Deserialize, Serialize};

use crate::delayed_events::{self, Form, positive_delay};
use crate::sending::{Sticky, transaction};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    // matrix-rust-sdk uses its earlier name.
    #[serde(alias = "delay")]
    delay_ms: i64,
    state_key: Option<String>,
    content: Object,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    delay_id: String,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(rooms): State<Arc<Rooms>>,
    Path(path): Path<(RoomId, String, String)>,
    Query(sticky): Query<Sticky>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let sticky_duration_ms = sticky.duration_ms(&rooms)?;
    schedule(&requester, &delayed, path, request, sticky_duration_ms, Form::Stable).await
}

/// PUT /_matrix/client/unstable/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}
pub(crate) async fn unstable(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(rooms): State<Arc<Rooms>>,
    Path(path): Path<(RoomId, String, String)>,
    Query(sticky): Query<Sticky>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let sticky_duration_ms = sticky.duration_ms(&rooms)?;
    schedule(&requester, &delayed, path, request, sticky_duration_ms, Form::Unstable).await
}

async fn schedule(
    requester: &Requester,
    delayed: &DelayedEvents,
    (room_id, event_type, txn_id): (RoomId, String, String),
    request: Request,
    sticky_duration_ms: Option<u64>,
    form: Form,
) -> Result<JsonBody<Response>, ApiError> {
    let transaction = transaction(requester, txn_id)?;
    let event = NewDelayedEvent {
        sender: requester.user_id.clone(),
        is_suspended: requester.suspended,
        is_rate_limited: requester.is_rate_limited(),
        endpoint: "delayed_event",
        transaction,
        room_id,
        event_type,
        state_key: request.state_key,
        content: request.content,
        delay_ms: positive_delay(request.delay_ms)?,
        sticky_duration_ms,
    };
    Ok(JsonBody(Response { delay_id: delayed_events::schedule(delayed, event, form).await? }))
}
