//! GET /_matrix/federation/unstable/rooms/{roomId}/complexity

use std::sync::Arc;

use plexus_federation::serve;
use plexus_http::{ApiError, JsonBody, Origin, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    v1: f64,
}

/// Returns the complexity of a room that everybody may join or read: the other server may not be in it yet.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
) -> Result<JsonBody<Response>, ApiError> {
    let complexity = serve::complexity(&rooms, &origin, &room_id).await.map_err(crate::responses::refused)?;
    Ok(JsonBody(Response { v1: complexity }))
}
