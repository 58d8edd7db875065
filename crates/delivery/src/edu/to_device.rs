//! `m.direct_to_device`

use plexus_protocol::id::{ServerName, UserId};
use plexus_store::{DbError, repo};
use serde::Deserialize;

use super::{EduError, EduReceiverParts, check_origin};
use plexus_sync::to_device::{self, MessagesByDevice, NewMessages};

/// The longest `message_id` that is accepted, in bytes; the specification allows 32 characters
/// (<https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>).
const MAX_MESSAGE_ID_BYTES: usize = 256;

/// How much of a device id is logged, in characters: its sender chose its length.
const MAX_LOGGED_CHARS: usize = 64;

#[derive(Deserialize)]
struct Content {
    sender: UserId,
    #[serde(rename = "type")]
    event_type: String,
    message_id: String,
    messages: MessagesByDevice,
}

pub(super) async fn receive(parts: &EduReceiverParts, origin: &ServerName, content: &str) -> Result<(), EduError> {
    let Content { sender, event_type, message_id, mut messages } = serde_json::from_str(content)?;
    check_origin(origin, &sender)?;
    if message_id.len() > MAX_MESSAGE_ID_BYTES {
        return Err(EduError::Unrelated);
    }
    to_device::check_type(&event_type)?;
    for (user, devices) in &mut messages {
        devices.retain(|device, content| match to_device::received(content) {
            Ok(canonical) => {
                *content = canonical;
                true
            }
            Err(error) => {
                let device: String = device.chars().take(MAX_LOGGED_CHARS).collect();
                tracing::info!("a message of {sender} to {user} {device:?} is ignored: {error}");
                false
            }
        });
    }
    let new = NewMessages { sender, device: None, txn_id: message_id, event_type, messages };
    let (origin, own) = (origin.clone(), parts.rooms.server_name().clone());
    let now = parts.clock.now_ms();
    parts
        .db
        .write(move |tx| {
            if !repo::to_device::receive(tx, origin.as_str(), &new.txn_id, now)? {
                return Ok(());
            }
            to_device::queue_local(tx, &new, &own)
        })
        .await
        .map_err(|error: DbError| error.into())
}
