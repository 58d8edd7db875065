//! POST .../requestToken: validation of addresses, for registration, password reset and /account/3pid, by email and by
//! phone. This server can send neither yet, and returns Synapse's error for a server without email.

use plexus_http::{ApiError, Empty, Json};
use plexus_protocol::json::Object;

/// Every `.../email/requestToken`.
pub(crate) async fn by_email(Json(body): Json<Object>) -> Result<Empty, ApiError> {
    check(&body, &["client_secret", "email", "send_attempt"])?;
    Err(denied("Email validation is not available on this server"))
}

/// Every `.../msisdn/requestToken`.
pub(crate) async fn by_msisdn(Json(body): Json<Object>) -> Result<Empty, ApiError> {
    check(&body, &["client_secret", "country", "phone_number", "send_attempt"])?;
    Err(denied("Phone number validation is not available on this server"))
}

fn check(body: &Object, required: &[&str]) -> Result<(), ApiError> {
    let missing: Vec<&str> = required.iter().copied().filter(|field| !body.contains_key(field)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ApiError::missing_param(format!("Missing params: {}", missing.join(", "))))
    }
}

fn denied(message: &'static str) -> ApiError {
    ApiError::bad_request("M_THREEPID_MEDIUM_NOT_SUPPORTED", message)
}
