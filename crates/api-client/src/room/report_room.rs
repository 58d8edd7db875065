//! POST /_matrix/client/v3/rooms/{roomId}/report

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use serde::Deserialize;

use plexus_service::{NewReport, RateLimits, Reported, Reports, check_limit};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    reason: String,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(reports): State<Reports>,
    State(limits): State<Arc<RateLimits>>,
    State(config): State<Arc<Config>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    check_limit(&limits.reports, &requester)?;
    let Some(room) = rooms.get(&room_id).await? else {
        return unknown(&config, ApiError::not_found("Room does not exist"));
    };
    let report = NewReport {
        reporter: requester.user_id.clone(),
        reported: Reported::Room(room.nid),
        reason: Some(request.reason),
        score: None,
    };
    reports.add(report).await?;
    Ok(Empty)
}

/// Returns the response to a report of something that does not exist for the user: with `msc4277_enabled` it tells
/// nothing.
pub(crate) fn unknown(config: &Config, error: ApiError) -> Result<Empty, ApiError> {
    if config.experimental.experimental_features.msc4277_enabled { Ok(Empty) } else { Err(error) }
}
