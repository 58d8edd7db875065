//! POST /_matrix/client/v3/rooms/{roomId}/report

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::RoomId;
use plexus_rooms::Rooms;
use plexus_store::repo::{self, reports::Report};
use serde::Deserialize;

use crate::rate_limits::RateLimits;

#[derive(Debug, Deserialize)]
pub struct Request {
    reason: String,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    limits.reports.check(&requester.user_id)?;
    let room = rooms.get(&room_id).await?.ok_or_else(|| ApiError::not_found("Room does not exist"))?;
    let (received_ts, room_nid) = (clock.now_ms(), room.nid);
    let reason = request.reason.replace('\0', "");
    rooms
        .database()
        .write(move |tx| {
            repo::reports::insert(
                tx,
                &Report {
                    received_ts,
                    reporter: requester.user_id.as_str(),
                    room_nid: Some(room_nid),
                    event_nid: None,
                    user_id: None,
                    reason: Some(&reason),
                    score: None,
                },
            )
        })
        .await?;
    Ok(Empty)
}
