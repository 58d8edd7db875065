//! GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, AuthGuest, Path, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Rooms, timeline};

use plexus_service::event_json::{client_format, push_event};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
) -> Result<RawJson, ApiError> {
    // An event that does not exist and one that is not visible get the same error.
    let not_found = || ApiError::not_found("Event not found.");
    let room = rooms.get(&room_id).await?.ok_or_else(not_found)?;
    let event = timeline::event(&room, &event_id).await?.ok_or_else(not_found)?;
    let visible = timeline::visible(&requester.user_id, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    let mut out = String::new();
    push_event(&mut out, &room, &client_format(&requester, clock.now_ms()), &visible).await?;
    Ok(RawJson(out.into()))
}
