//! GET /_matrix/federation/v1/timestamp_to_event/{roomId}

use std::sync::Arc;

use plexus_federation::serve;
use plexus_http::{ApiError, JsonBody, Origin, Path, Query, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_rooms::timeline::Direction;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    ts: u64,
    dir: Way,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Way {
    #[serde(rename = "f")]
    Forward,
    #[serde(rename = "b")]
    Backward,
}

/// Returns this server's event nearest to a time.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Value>, ApiError> {
    let direction = match request.dir {
        Way::Forward => Direction::Forward,
        Way::Backward => Direction::Backward,
    };
    let found = serve::timestamp_to_event(&rooms, &origin, &room_id, request.ts, direction).await;
    let pdu = &found.map_err(crate::responses::refused)?.pdu;
    Ok(JsonBody(json!({ "event_id": pdu.event_id(), "origin_server_ts": pdu.origin_server_ts() })))
}
