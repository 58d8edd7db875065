//! GET /_matrix/client/v3/rooms/{roomId}/state

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::room_errors::send_error;
use plexus_http::{ApiError, AuthGuest, Path, RawJson, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::{Rooms, timeline};
use plexus_service::event_json::{client_format, push_state};

use crate::access::readable_room;

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Path(room_id): Path<RoomId>,
) -> Result<RawJson, ApiError> {
    let (room, access) = readable_room(&rooms, &room_id, &requester.user_id).await?;
    rooms.full_state(&room).await.map_err(|error| send_error(error.into()))?;
    let state = timeline::state_at(&room, access.upto(room.view().position)).await?;
    let mut out = String::new();
    push_state(&mut out, &room, &client_format(&requester, clock.now_ms()), state).await?;
    Ok(RawJson(out.into()))
}
