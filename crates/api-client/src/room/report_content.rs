//! POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::id::{EventId, RoomId};
use plexus_rooms::{Rooms, timeline};
use plexus_store::repo::{self, reports::Report};
use serde::Deserialize;

use crate::own::require_joined;
use crate::rate_limits::RateLimits;

#[derive(Debug, Deserialize)]
pub struct Request {
    reason: Option<String>,
    /// -100 (most offensive) to 0.
    score: Option<i64>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    State(limits): State<Arc<RateLimits>>,
    Path((room_id, event_id)): Path<(RoomId, EventId)>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    limits.reports.check(&requester.user_id)?;
    let not_found = || ApiError::not_found("Unable to report event: it does not exist or you aren't able to see it.");
    let room = require_joined(&rooms, &room_id, &requester.user_id).await.map_err(|_| not_found())?;
    let event = timeline::event(&room, &event_id).await?.ok_or_else(not_found)?;
    let visible = timeline::visible(&requester.user_id, &room, vec![event]).await?.pop().ok_or_else(not_found)?;
    let (received_ts, room_nid, event_nid) = (clock.now_ms(), room.nid, visible.event.nid);
    let reason = request.reason.map(|reason| reason.replace('\0', ""));
    rooms
        .database()
        .write(move |tx| {
            repo::reports::insert(
                tx,
                &Report {
                    received_ts,
                    reporter: requester.user_id.as_str(),
                    room_nid: Some(room_nid),
                    event_nid: Some(event_nid),
                    user_id: None,
                    reason: reason.as_deref(),
                    score: request.score,
                },
            )
        })
        .await?;
    Ok(Empty)
}
