//! POST /_matrix/client/v3/rooms/{roomId}/report

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use serde::Deserialize;

use plexus_service::{NewReport, RateLimits, Reported, Reports};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    reason: String,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(reports): State<Reports>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    limits.reports.check(&requester.user_id)?;
    let room = rooms.get(&room_id).await?.ok_or_else(|| ApiError::not_found("Room does not exist"))?;
    let report = NewReport {
        reporter: requester.user_id.clone(),
        reported: Reported::Room(room.nid),
        reason: Some(request.reason),
        score: None,
    };
    reports.add(report).await?;
    Ok(Empty)
}
