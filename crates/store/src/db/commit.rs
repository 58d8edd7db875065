//! The ways in which a commit can end.

use super::error::DbError;

/// Why a commit did not succeed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Nothing was stored: [`DbError::Commit`], or the failure of a statement that was sent ahead.
    Failed(DbError),
    /// The connection was lost before the response arrived.
    Unknown(CommitId, String),
}

/// The number that a commit writes beside the clock. After a lost connection it shows whether the commit was stored.
/// Numbers count up from the time in microseconds at which the connection was opened, so that none is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CommitId(pub(super) i64);

/// The fate of a transaction whose COMMIT got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    RolledBack,
}
