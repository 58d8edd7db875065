//! Keys of end-to-end encryption.

pub mod claim_keys;
pub mod get_key_changes;
pub mod get_keys;
pub mod upload_keys;
pub mod upload_signatures;
pub mod upload_signing_keys;

use std::collections::BTreeMap;

use plexus_http::ApiError;
use plexus_protocol::id::UserId;
use serde_json::{Value, json};

/// The device of an access token; keys belong to devices.
pub(crate) fn device_of(requester: &plexus_accounts::Requester) -> Result<&str, ApiError> {
    requester
        .device_id
        .as_deref()
        .ok_or_else(|| ApiError::unknown("To upload keys, you must pass device_id when authenticating"))
}

/// The `failures` of an answer: the servers of users that could not be asked.
pub(crate) fn unreachable<'a>(users: impl Iterator<Item = &'a UserId>) -> BTreeMap<String, Value> {
    let failure = json!({ "status": 503, "errcode": "M_UNREACHABLE", "message": "Not ready for retry" });
    users.map(|user_id| (user_id.server_name().to_owned(), failure.clone())).collect()
}
