//! The tokens of /messages, /context and /relations: a position in the order of the timeline.

use plexus_http::ApiError;
use plexus_store::Position;
use plexus_sync::SyncToken;

/// Returns the token for the place after the event at a position.
pub(crate) fn token(position: Position) -> String {
    format!("s{position}")
}

/// Returns the position of a token of this server, those of /sync included.
pub(crate) fn position_of(token: &str) -> Result<Position, ApiError> {
    let token: SyncToken =
        token.parse().map_err(|_| ApiError::invalid_param("from or to is not a token of this server"))?;
    Ok(token.position)
}
