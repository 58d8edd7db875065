//! Keys of end-to-end encryption.

pub(crate) mod claim_keys;
pub(crate) mod get_key_changes;
pub(crate) mod get_keys;
pub(crate) mod upload_keys;
pub(crate) mod upload_signatures;
pub(crate) mod upload_signing_keys;

use plexus_http::ApiError;

/// Returns the device of the access token, because keys belong to devices.
pub(crate) fn device_of(requester: &plexus_accounts::Requester) -> Result<&str, ApiError> {
    requester
        .device_id
        .as_deref()
        .ok_or_else(|| ApiError::unknown("To upload keys, you must pass device_id when authenticating"))
}
