//! PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}

use std::sync::Arc;
use std::time::Duration;

use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::Rooms;
use plexus_sync::{Presence, Typing};
use serde::Deserialize;

use crate::access::{require_joined, require_self};

/// ms
const DEFAULT_TIMEOUT: u64 = 30_000;
/// ms
const MAX_TIMEOUT: u64 = 300_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    typing: bool,
    /// ms
    timeout: Option<u64>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(typing): State<Arc<Typing>>,
    State(presence): State<Arc<Presence>>,
    Path((room_id, user)): Path<(RoomId, UserId)>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    require_self(&requester, &user)?;
    let room = require_joined(&rooms, &room_id, &user).await?;
    presence.active(&user);
    if requester.shadow_banned {
        return Ok(Empty);
    }
    if request.typing {
        let timeout = request.timeout.unwrap_or(DEFAULT_TIMEOUT).min(MAX_TIMEOUT);
        typing.start(room.nid, &user, Duration::from_millis(timeout));
    } else {
        typing.stop(room.nid, &user);
    }
    Ok(Empty)
}
