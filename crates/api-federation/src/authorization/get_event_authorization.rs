//! GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}

use std::sync::Arc;

use axum::response::Response;
use plexus_federation::serve;
use plexus_http::{ApiError, Origin, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;

use crate::responses::{Part, refused, streamed};

/// Returns the auth chain of an event.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
) -> Result<Response, ApiError> {
    let (room, chain) = serve::auth_chain(&rooms, &origin, &room_id, &event_id).await.map_err(refused)?;
    let parts = vec![Part::Text("{\"auth_chain\":[".to_owned()), Part::Events(chain), Part::Text("]}".to_owned())];
    Ok(streamed(room, parts))
}
