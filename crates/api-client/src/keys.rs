//! Keys of end-to-end encryption.

pub mod claim_keys;
pub mod get_key_changes;
pub mod get_keys;
pub mod upload_keys;
pub mod upload_signatures;
pub mod upload_signing_keys;

use plexus_http::ApiError;

/// The device of an access token; keys belong to devices.
pub(crate) fn device_of(requester: &plexus_accounts::Requester) -> Result<&str, ApiError> {
    requester
        .device_id
        .as_deref()
        .ok_or_else(|| ApiError::unknown("To upload keys, you must pass device_id when authenticating"))
}
