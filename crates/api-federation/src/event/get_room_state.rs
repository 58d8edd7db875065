//! GET /_matrix/federation/v1/state/{roomId}

use std::sync::Arc;

use axum::response::Response;
use plexus_federation::serve;
use plexus_http::{ApiError, Origin, Path, Query, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use serde::Deserialize;

use crate::responses::{Part, refused, streamed};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    event_id: EventId,
}

/// Returns the state before an event.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<Response, ApiError> {
    let state = serve::state_before(&rooms, &origin, &room_id, &request.event_id).await;
    let (room, before) = state.map_err(refused)?;
    let parts = vec![
        Part::Text("{\"auth_chain\":[".to_owned()),
        Part::Events(before.auth_chain),
        Part::Text("],\"pdus\":[".to_owned()),
        Part::Events(before.state),
        Part::Text("]}".to_owned()),
    ];
    Ok(streamed(room, parts))
}
