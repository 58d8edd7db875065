//! `m.presence`

use plexus_protocol::id::{ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EduError, EduReceiverParts, check_origin, ignore_invalid};
use plexus_sync::presence::{MAX_STATUS_BYTES, PresenceState, PresenceView};

#[derive(Deserialize)]
struct Content {
    push: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Update {
    user_id: UserId,
    presence: String,
    status_msg: Option<String>,
    last_active_ago: Option<u64>,
    #[serde(default)]
    currently_active: bool,
}

pub(super) async fn receive(parts: &EduReceiverParts, origin: &ServerName, content: &str) -> Result<(), EduError> {
    let Content { push } = serde_json::from_str(content)?;
    for update in push {
        ignore_invalid("a presence", origin, receive_one(parts, origin, &update).await)?;
    }
    Ok(())
}

async fn receive_one(parts: &EduReceiverParts, origin: &ServerName, update: &RawValue) -> Result<(), EduError> {
    let update: Update = serde_json::from_str(update.get())?;
    check_origin(origin, &update.user_id)?;
    if !parts.shares_room(&update.user_id).await? {
        return Err(EduError::Unrelated);
    }
    let Some(state) = PresenceState::parse(&update.presence) else { return Ok(()) };
    let now = parts.clock.now_ms();
    let view = PresenceView {
        state,
        status_msg: update.status_msg.filter(|status| status.len() <= MAX_STATUS_BYTES && !status.contains('\0')),
        last_active_ms: update.last_active_ago.map(|ago| now.saturating_sub(ago)),
        currently_active: update.currently_active && state != PresenceState::Offline,
    };
    parts.presence.set_remote(&update.user_id, view);
    Ok(())
}
