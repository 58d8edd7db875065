//! `m.typing`

use std::time::Duration;

use plexus_protocol::id::{RoomId, ServerName, UserId};
use serde::Deserialize;

use super::{EduError, EduReceiverParts, check_origin, is_joined};

/// How long a user counts as typing without another EDU: their server may have failed.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Content {
    room_id: RoomId,
    user_id: UserId,
    typing: bool,
}

pub(super) async fn receive(parts: &EduReceiverParts, origin: &ServerName, content: &str) -> Result<(), EduError> {
    let Content { room_id, user_id, typing } = serde_json::from_str(content)?;
    check_origin(origin, &user_id)?;
    let room = parts.room(origin, &room_id).await?;
    if !is_joined(&room, &user_id) {
        return Err(EduError::Unrelated);
    }
    if typing {
        parts.typing.start(room.nid, &user_id, TIMEOUT);
    } else {
        parts.typing.stop(room.nid, &user_id);
    }
    Ok(())
}
