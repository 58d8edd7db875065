//! POST /_matrix/federation/v1/get_missing_events/{roomId}

use std::sync::Arc;

use plexus_federation::peers::MissingEventsRequest;
use plexus_federation::serve;
use plexus_http::{ApiError, Json, Origin, Path, RawJson, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::Rooms;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    earliest_events: Vec<EventId>,
    latest_events: Vec<EventId>,
    #[serde(default = "default_limit")]
    limit: usize,
    #[serde(default)]
    min_depth: i64,
}

fn default_limit() -> usize {
    10
}

/// Returns the events between others.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<RawJson, ApiError> {
    let query = MissingEventsRequest {
        earliest: request.earliest_events,
        latest: request.latest_events,
        limit: u32::try_from(request.limit).unwrap_or(u32::MAX),
        min_depth: u64::try_from(request.min_depth).unwrap_or(0),
    };
    let pdus = serve::missing_events(&rooms, &origin, &room_id, query).await.map_err(crate::responses::refused)?;
    Ok(RawJson(format!("{{\"events\":[{}]}}", pdus.join(",")).into()))
}
