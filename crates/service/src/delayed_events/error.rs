//! Why delayed events are not sent.

use plexus_rooms::{MembershipError, SendError};
use plexus_store::DbError;

use crate::{ClientEventError, MemberEventError};

/// Returns the body of the error response that a client would have got, as JSON.
pub type ErrorBody = Box<dyn Fn(DelayedSendError) -> String + Send + Sync>;

/// Why a delayed event was not sent.
#[derive(Debug, thiserror::Error)]
pub enum DelayedSendError {
    /// Another user has set the same state since it was scheduled.
    #[error("A different user has updated the same state since the delayed event was scheduled")]
    Overtaken,
    /// The account does not exist any more.
    #[error("The account has been deactivated")]
    Deactivated,
    /// An administrator has locked the account.
    #[error("User account has been locked")]
    Locked,
    /// The account is suspended.
    #[error("This action is not permitted while the account is suspended")]
    Suspended,
    /// All attempts failed.
    #[error("The delayed event could not be sent")]
    Failed,
    /// It cannot be sent.
    #[error(transparent)]
    Event(#[from] ClientEventError),
}

impl DelayedSendError {
    /// Whether another attempt, soon afterwards, may succeed. An event that exceeds a rate limit is not sent again, as
    /// the proposal says.
    pub(super) fn may_pass(&self) -> bool {
        let Self::Event(error) = self else { return false };
        match error {
            ClientEventError::Db(_) => true,
            ClientEventError::Send(error)
            | ClientEventError::Member(MemberEventError::Membership(MembershipError::Send(error))) => {
                matches!(error, SendError::Db(_) | SendError::Contended | SendError::StatePending(_))
            }
            ClientEventError::Limited(_) | ClientEventError::Member(_) => false,
        }
    }
}

impl From<DbError> for DelayedSendError {
    fn from(error: DbError) -> Self {
        Self::Event(error.into())
    }
}
