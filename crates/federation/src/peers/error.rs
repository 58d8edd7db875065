//! Errors of requests to other servers, as the room engine knows them.

use plexus_net::FederationError;
use plexus_rooms::PeerError;

/// Returns the room engine's error for a failed request.
#[must_use]
pub fn peer_error(error: FederationError) -> PeerError {
    match error {
        FederationError::NotAllowed(server) => PeerError::NotAllowed(server),
        FederationError::OwnServer
        | FederationError::MalformedRequest(_)
        | FederationError::BackingOff { .. }
        | FederationError::NotSent(_)
        | FederationError::Unreachable { .. } => PeerError::Unreachable(error.to_string()),
        FederationError::Broken { .. } | FederationError::Timeout(_) => PeerError::NoResponse(error.to_string()),
        FederationError::Status { destination, status, errcode, error, .. } => {
            PeerError::Refused { server: destination, status: status.as_u16(), errcode, error }
        }
        FederationError::TooLarge { destination, limit } => {
            PeerError::Malformed { server: destination, problem: format!("it is larger than {limit} bytes") }
        }
        FederationError::MalformedResponse { destination, problem } => {
            PeerError::Malformed { server: destination, problem }
        }
    }
}
