//! Errors of receiving events, as errors of changing a membership.

use plexus_protocol::event::PduError;
use plexus_protocol::event::build::BuildError;
use plexus_rooms::actions::membership::MembershipError;
use plexus_rooms::write::error::SendError;

use crate::receive::{ReceiveError, ReceiveStateError};

impl From<ReceiveStateError> for MembershipError {
    fn from(error: ReceiveStateError) -> Self {
        match error {
            ReceiveStateError::Remote(error) => Self::Remote(error),
            ReceiveStateError::Db(error) => error.into(),
            ReceiveStateError::NoCreate | ReceiveStateError::TooMany | ReceiveStateError::Spool(_) => {
                tracing::info!("a room cannot be joined: {error}");
                Self::BadState
            }
        }
    }
}

impl From<ReceiveError> for MembershipError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Db(error) => error.into(),
            ReceiveError::Contended => Self::Send(SendError::Contended),
            ReceiveError::Malformed(error @ PduError::TooLarge(_)) => Self::Send(BuildError::Pdu(error).into()),
            error => {
                tracing::info!("a membership could not be changed through another server: {error}");
                Self::BadState
            }
        }
    }
}
