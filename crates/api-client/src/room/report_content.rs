//! POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, Requester, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Room, Rooms, timeline};
use plexus_service::{NewReport, RateLimits, Reported, Reports, check_limit};
use plexus_store::EventNid;
use serde::Deserialize;

use super::report_room::unknown;
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
    State(config): State<Arc<Config>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    check_limit(&limits.reports, &requester)?;
    let Some((room, event)) = visible_event(&rooms, &requester, &room_id, &event_id).await? else {
        let text = "Unable to report event: it does not exist or you aren't able to see it.";
        return unknown(&config, ApiError::not_found(text));
    };
    let report = NewReport {
        reporter: requester.user_id.clone(),
        reported: Reported::Event { room: room.nid, event },
        reason: request.reason,
        score: request.score,
    };
    reports.add(report).await?;
    Ok(Empty)
}

/// Returns the room and the event, if the user may see it.
async fn visible_event(
    rooms: &Rooms,
    requester: &Requester,
    room_id: &RoomId,
    event_id: &EventId,
) -> Result<Option<(Arc<Room>, EventNid)>, ApiError> {
    let Ok(room) = require_joined(rooms, room_id, &requester.user_id).await else { return Ok(None) };
    let Some(event) = timeline::event(&room, event_id).await? else { return Ok(None) };
    let visible = timeline::visible(&requester.user_id, &room, vec![event]).await?.pop();
    Ok(visible.map(|visible| (room, visible.event.nid)))
}
