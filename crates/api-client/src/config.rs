//! Account data.

pub(crate) mod delete_global_account_data;
pub(crate) mod delete_room_account_data;
pub(crate) mod get_global_account_data;
pub(crate) mod get_room_account_data;
pub(crate) mod set_global_account_data;
pub(crate) mod set_room_account_data;

use http::StatusCode;
use plexus_base::config::Config;
use plexus_http::ApiError;

use crate::access::require_text;

/// Whether account data can be deleted (MSC3391). Then writing an empty content deletes it, too.
fn deletes(config: &Config) -> bool {
    config.experimental.experimental_features.msc3391_enabled
}

/// Whether a content, the text of a JSON object, has no field.
fn is_empty(content: &str) -> bool {
    content.chars().all(|c| c.is_ascii_whitespace() || matches!(c, '{' | '}'))
}

/// Checks the type of account data that a client writes or deletes.
fn require_writable(event_type: &str) -> Result<(), ApiError> {
    require_text("type", event_type)?;
    if matches!(event_type, "m.push_rules" | "m.fully_read") {
        return Err(server_controlled(event_type));
    }
    Ok(())
}

/// Returns the error for account data that has an endpoint of its own.
fn server_controlled(event_type: &str) -> ApiError {
    let message = format!("Cannot set {event_type} through this API.");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", message)
}
