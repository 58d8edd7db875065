//! GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::room_errors::send_error;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::{Rooms, timeline};
use plexus_service::event_json::client_format;
use serde::Deserialize;

use crate::access::readable_room;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// `content` (the default) or `event`.
    format: Option<String>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Path((room_id, event_type, state_key)): Path<(RoomId, String, String)>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let whole = match request.format.as_deref() {
        None | Some("content") => false,
        Some("event") => true,
        Some(_) => return Err(ApiError::invalid_param("format must be content or event")),
    };
    let (room, access) = readable_room(&rooms, &room_id, &requester.user_id).await?;
    let at = access.upto(room.view().position);
    let mut event = timeline::state_event_at(&room, at, &event_type, &state_key).await?;
    if event.is_none() && room.view().is_partial() {
        rooms.full_state(&room).await.map_err(|error| send_error(error.into()))?;
        event = timeline::state_event_at(&room, at, &event_type, &state_key).await?;
    }
    let not_found = || ApiError::not_found("Event not found.");
    let event = event.ok_or_else(not_found)?;
    if !whole {
        return Ok(RawJson(event.pdu.content_json().to_owned().into()));
    }
    let event = timeline::state_for(&requester.user_id, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    let mut out = String::new();
    event.write_client(&mut out, &client_format(&requester, clock.now_ms()), None, None);
    Ok(RawJson(out.into()))
}

/// As [`handle`], with an empty state key, which the path may leave out.
pub(crate) async fn without_key(
    auth: AuthGuest,
    rooms: State<Arc<Rooms>>,
    clock: State<Clock>,
    Path((room_id, event_type)): Path<(RoomId, String)>,
    query: Query<Request>,
) -> Result<RawJson, ApiError> {
    handle(auth, rooms, clock, Path((room_id, event_type, String::new())), query).await
}
