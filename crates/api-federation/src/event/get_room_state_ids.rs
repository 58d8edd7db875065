//! GET /_matrix/federation/v1/state_ids/{roomId}

use std::sync::Arc;

use plexus_federation::serve;
use plexus_http::{ApiError, JsonBody, Origin, Path, Query, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    event_id: EventId,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    auth_chain_ids: Vec<EventId>,
    pdu_ids: Vec<EventId>,
}

/// Returns the ids of the state before an event.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let state = serve::state_ids_before(&rooms, &origin, &room_id, &request.event_id).await;
    let state = state.map_err(crate::responses::refused)?;
    Ok(JsonBody(Response { auth_chain_ids: state.auth_chain, pdu_ids: state.state }))
}
