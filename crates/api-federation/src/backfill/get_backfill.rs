//! GET /_matrix/federation/v1/backfill/{roomId}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_federation::serve;
use plexus_http::{ApiError, Origin, Path, Query, RawJson, State};
use plexus_protocol::id::{EventId, RoomId, ServerName};
use plexus_rooms::Rooms;
use serde::Deserialize;

use crate::responses::{refused, transaction};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    v: Vec<EventId>,
    limit: usize,
}

/// Returns events and those before them.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    State(server_name): State<ServerName>,
    State(clock): State<Clock>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    if request.v.is_empty() {
        return Err(ApiError::missing_param("Did not specify any event to backfill from"));
    }
    let pdus = serve::backfill(&rooms, &origin, &room_id, request.v, request.limit).await.map_err(refused)?;
    Ok(transaction(&server_name, clock.now_ms(), &pdus))
}
