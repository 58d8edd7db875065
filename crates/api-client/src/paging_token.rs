//! The tokens of /messages, /context and /relations: a position in the order of the timeline.

use plexus_http::ApiError;
use plexus_store::Position;
use plexus_sync::SyncToken;
use plexus_sync::sliding::Pos;

/// Returns the token for the place after the event at a position.
pub(crate) fn token(position: Position) -> String {
    format!("s{position}")
}

/// Returns the position of a token of this server, those of /sync and the positions of sliding sync included.
pub(crate) fn position_of(token: &str) -> Result<Position, ApiError> {
    let of_sliding_sync = || token.parse().map(Pos::token);
    let parsed = token.parse().or_else(|_| of_sliding_sync());
    let token: SyncToken = parsed.map_err(|_| ApiError::invalid_param("from or to is not a token of this server"))?;
    Ok(token.position)
}
