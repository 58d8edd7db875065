//! What is refused because a user would have too much of it.

use crate::DbError;

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub enum BoundError {
    /// 413 `M_TOO_LARGE`: it is too large, or the user has too many.
    #[error("{0}")]
    TooLarge(&'static str),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// `Ok` if `within`.
///
/// # Errors
/// `TooLarge`, saying `what`.
pub fn require(within: bool, what: &'static str) -> Result<(), BoundError> {
    if within { Ok(()) } else { Err(BoundError::TooLarge(what)) }
}
