//! Client errors for failed requests to other servers.

use http::StatusCode;
use plexus_federation::peers;
use plexus_net::FederationError;
use plexus_rooms::PeerError;

use crate::ApiError;

/// The error codes of other servers that clients get. They are about a room, a user, or the request. Clients would take
/// others for errors of their own session: at `M_UNKNOWN_TOKEN` they log out and may delete their keys, whatever the
/// status.
const RELAYED_ERRCODES: &[&str] = &[
    "M_BAD_ALIAS",
    "M_BAD_JSON",
    "M_BAD_STATE",
    "M_DUPLICATE_ANNOTATION",
    "M_FORBIDDEN",
    "M_GUEST_ACCESS_FORBIDDEN",
    "M_INCOMPATIBLE_ROOM_VERSION",
    "M_INVALID_PARAM",
    "M_INVITE_BLOCKED",
    "M_LIMIT_EXCEEDED",
    "M_MISSING_PARAM",
    "M_NOT_FOUND",
    "M_NOT_JSON",
    "M_TOO_LARGE",
    "M_UNABLE_TO_AUTHORISE_JOIN",
    "M_UNABLE_TO_GRANT_JOIN",
    "M_UNRECOGNIZED",
    "M_UNSUPPORTED_ROOM_VERSION",
];
/// The maximum length of another server's text in a client's error, in characters.
const MAX_RELAYED_CHARS: usize = 300;

/// Returns the client's error for a request to another server that failed.
pub fn federation_error(error: &FederationError) -> ApiError {
    peer_error(&peers::peer_error(error.clone()))
}

/// Returns the client's error for a request that another server did not answer. What that server says about the thing
/// that was asked for is passed on; an error between the servers, such as a 401, is not.
pub fn peer_error(error: &PeerError) -> ApiError {
    if let Some(refusal) = refusal(error) {
        return refusal;
    }
    match error {
        PeerError::NotAllowed(server) => ApiError::forbidden(format!("Federation denied with {server}.")),
        PeerError::Refused { status: 404, .. } => ApiError::not_found("The other server does not know it"),
        error => {
            tracing::info!("a client's request needs another server, and that failed: {error}");
            ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", "The other server cannot be asked")
        }
    }
}

/// Returns the client's error for another server's refusal that says something about what was asked for. Nothing of it
/// can be mistaken for an error of the client's own session.
pub(crate) fn refusal(error: &PeerError) -> Option<ApiError> {
    let PeerError::Refused { status, errcode: Some(errcode), error, .. } = error else { return None };
    if !matches!(status, 400 | 403 | 404 | 413 | 429) {
        return None;
    }
    let errcode = RELAYED_ERRCODES.iter().find(|known| *known == errcode).copied().unwrap_or("M_UNKNOWN");
    let text: String = error.iter().flat_map(|error| error.chars()).take(MAX_RELAYED_CHARS).collect();
    Some(ApiError::new(StatusCode::from_u16(*status).ok()?, errcode, text))
}
