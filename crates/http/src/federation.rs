//! What clients are told when another server was asked in vain.

use http::StatusCode;
use plexus_net::FederationError;

use crate::ApiError;

/// What a client is told of it. What the other server says about what was asked for is passed on; what is between the servers,
/// such as a 401, is not: a client would take it as being about its own session.
pub fn federation_error(error: &FederationError) -> ApiError {
    let status = error.status().filter(|status| matches!(status.as_u16(), 400 | 403 | 404));
    match (error, status) {
        (FederationError::NotAllowed(server), _) => ApiError::forbidden(format!("Federation denied with {server}.")),
        (FederationError::Status { errcode: Some(errcode), error, .. }, Some(status)) => {
            ApiError::new(status, errcode.clone(), error.clone().unwrap_or_default())
        }
        (_, Some(StatusCode::NOT_FOUND)) => ApiError::not_found("The other server does not know it"),
        (error, _) => {
            tracing::info!("a user's question to another server has no answer: {error}");
            ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", "The other server cannot be asked")
        }
    }
}
