//! How a commit may end.

use super::error::DbError;

/// Why a commit did not succeed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Nothing was stored: [`DbError::Commit`], or the failure of a statement that was sent ahead.
    Failed(DbError),
    /// The connection was lost before the answer came.
    Unknown(CommitId, String),
}

/// The number that a commit leaves beside the clock. It tells after a lost connection whether the commit was stored.
/// Numbers go up from the time, in microseconds, at which the connection was made, so that none is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CommitId(pub(super) i64);

/// What became of a transaction whose COMMIT was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    RolledBack,
}
