//! `m.device_list_update` and `m.signing_key_update`: users of other servers changed their devices or keys.

use std::collections::HashSet;

use plexus_protocol::id::{ServerName, UserId};

use super::{EduError, EduReceiverParts, check_origin};
use plexus_e2ee::remote_devices::{DeviceUpdate, SigningKeyUpdate};

pub(super) async fn receive_update(
    parts: &EduReceiverParts,
    origin: &ServerName,
    content: &str,
    announced: &mut HashSet<UserId>,
) -> Result<(), EduError> {
    let update: DeviceUpdate = serde_json::from_str(content)?;
    check_origin(origin, &update.user_id)?;
    if parts.remote_devices.update(update, announced).await? { Ok(()) } else { Err(EduError::Unrelated) }
}

pub(super) async fn receive_signing_keys(
    parts: &EduReceiverParts,
    origin: &ServerName,
    content: &str,
    announced: &mut HashSet<UserId>,
) -> Result<(), EduError> {
    let update: SigningKeyUpdate = serde_json::from_str(content)?;
    check_origin(origin, &update.user_id)?;
    if parts.remote_devices.update_signing_keys(update, announced).await? { Ok(()) } else { Err(EduError::Unrelated) }
}
