//! The user's dehydrated device (MSC3814).

pub(crate) mod delete_dehydrated_device;
pub(crate) mod get_dehydrated_device;
pub(crate) mod get_events;
pub(crate) mod put_dehydrated_device;

use plexus_base::config::Config;
use plexus_http::ApiError;
use serde::Serialize;

/// The id of the dehydrated device.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceId {
    device_id: String,
}

/// Refuses requests while dehydrated devices are disabled, as if there were no such endpoint.
fn require_enabled(config: &Config) -> Result<(), ApiError> {
    if config.experimental.experimental_features.msc3814_enabled { Ok(()) } else { Err(ApiError::unrecognized()) }
}

fn none_there() -> ApiError {
    ApiError::not_found("No dehydrated device available")
}
