//! Account data.

pub(crate) mod get_global_account_data;
pub(crate) mod get_room_account_data;
pub(crate) mod set_global_account_data;
pub(crate) mod set_room_account_data;

use http::StatusCode;
use plexus_http::ApiError;

/// Returns the error for account data that has an endpoint of its own.
fn server_controlled(event_type: &str) -> ApiError {
    let message = format!("Cannot set {event_type} through this API.");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", message)
}
