//! What the six `.../requestToken` endpoints share. This server can send neither emails nor text messages.

use plexus_http::{ApiError, Empty};
use plexus_protocol::json::Object;

/// Returns the response of an endpoint that would send an email.
pub(crate) fn without_email(body: &Object) -> Result<Empty, ApiError> {
    check_present(body, &["client_secret", "email", "send_attempt"])?;
    Err(unsupported("Email validation is not available on this server"))
}

/// Returns the response of an endpoint that would send a text message.
pub(crate) fn without_text_messages(body: &Object) -> Result<Empty, ApiError> {
    check_present(body, &["client_secret", "country", "phone_number", "send_attempt"])?;
    Err(unsupported("Phone number validation is not available on this server"))
}

fn check_present(body: &Object, required: &[&str]) -> Result<(), ApiError> {
    let missing: Vec<&str> = required.iter().copied().filter(|field| !body.contains_key(field)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ApiError::missing_param(format!("Missing params: {}", missing.join(", "))))
    }
}

fn unsupported(message: &'static str) -> ApiError {
    ApiError::bad_request("M_THREEPID_MEDIUM_NOT_SUPPORTED", message)
}
