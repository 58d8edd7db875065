//! POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Rooms, timeline};
use plexus_service::{NewReport, RateLimits, Reported, Reports};
use serde::Deserialize;

use crate::access::require_joined;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    reason: Option<String>,
    /// -100 (most offensive) to 0.
    score: Option<i64>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(reports): State<Reports>,
    State(limits): State<Arc<RateLimits>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    limits.reports.check(&requester.user_id)?;
    let not_found = || ApiError::not_found("Unable to report event: it does not exist or you aren't able to see it.");
    let room = require_joined(&rooms, &room_id, &requester.user_id).await.map_err(|_| not_found())?;
    let event = timeline::event(&room, &event_id).await?.ok_or_else(not_found)?;
    let visible = timeline::visible(&requester.user_id, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    let report = NewReport {
        reporter: requester.user_id.clone(),
        reported: Reported::Event { room: room.nid, event: visible.event.nid },
        reason: request.reason,
        score: request.score,
    };
    reports.add(report).await?;
    Ok(Empty)
}
