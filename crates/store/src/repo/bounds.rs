//! The error for data that exceeds a user's limits.

use crate::DbError;

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub enum BoundError {
    /// 413 `M_TOO_LARGE`: the value is too large, or the user has too many.
    #[error("{0}")]
    TooLarge(&'static str),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Returns `Ok` if `within`.
///
/// # Errors
/// `TooLarge` with the message `what`.
pub fn require(within: bool, what: &'static str) -> Result<(), BoundError> {
    if within { Ok(()) } else { Err(BoundError::TooLarge(what)) }
}
