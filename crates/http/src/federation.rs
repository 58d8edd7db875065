//! Client errors for failed requests to other servers.

use http::StatusCode;
use plexus_federation::peers;
use plexus_net::FederationError;
use plexus_rooms::PeerError;

use crate::ApiError;

/// Returns the client's error for a request to another server that failed.
pub fn federation_error(error: &FederationError) -> ApiError {
    peer_error(&peers::peer_error(error.clone()))
}

/// Returns the client's error for a request that another server did not answer. What that server says about the thing
/// that was asked for is passed on; an error between the servers, such as a 401, is not: a client would take it for one
/// about its own session.
pub fn peer_error(error: &PeerError) -> ApiError {
    let status = error.status().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.filter(|status| matches!(status.as_u16(), 400 | 403 | 404));
    match (error, status) {
        (PeerError::NotAllowed(server), _) => ApiError::forbidden(format!("Federation denied with {server}.")),
        (PeerError::Refused { errcode: Some(errcode), error, .. }, Some(status)) => {
            ApiError::new(status, errcode.clone(), error.clone().unwrap_or_default())
        }
        (_, Some(StatusCode::NOT_FOUND)) => ApiError::not_found("The other server does not know it"),
        (error, _) => {
            tracing::info!("a client's request needs another server, and that failed: {error}");
            ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", "The other server cannot be asked")
        }
    }
}
