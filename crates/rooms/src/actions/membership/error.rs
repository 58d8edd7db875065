//! Why a membership was not changed.

use plexus_store::DbError;

use crate::model::limits::LimitError;
use crate::model::partial_state::StatePending;
use crate::write::error::{AddError, SendError};
use crate::write::peer_error::PeerError;

/// Why a membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The user has to be in the room for that.
    #[error("The user is not in the room")]
    TargetNotInRoom,
    /// The user has to be banned for that.
    #[error("The user is not banned")]
    NotBanned,
    /// The user is banned; unban first.
    #[error("The user is banned; unban them first")]
    Banned,
    /// The room lets in members of other rooms, and the user is in none of them.
    #[error("You do not belong to any of the rooms whose members may join this room")]
    NotInAllowedRoom,
    /// Nobody on this server has the power to let the user in.
    #[error("No user of this server can let you into the room")]
    UnableToGrantJoin,
    /// The room has no place for guests.
    #[error("Guests are not allowed in this room")]
    GuestsForbidden,
    /// Users of other servers cannot be invited by a server that does not federate.
    #[error("Users of other servers cannot be invited: this server does not federate")]
    RemoteUser,
    /// Nobody is known who is in the room.
    #[error("No server is known that is in the room")]
    NoServer,
    /// The other server told no usable state of the room.
    #[error("The other server did not send a usable state of the room")]
    BadState,
    /// Another server was needed and did not do its part.
    #[error(transparent)]
    Remote(#[from] PeerError),
    /// A room the user is in cannot be forgotten.
    #[error("You are still in the room; leave it first")]
    StillInRoom,
    /// Nobody in the room has invited the owner of that address.
    #[error("Nobody has invited the owner of that address")]
    NotInvited,
    /// This server does not let anybody do that now.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The identity server's key has been withdrawn, or cannot be asked about.
    #[error("The identity server has withdrawn its key, or could not be asked about it")]
    IdentityKey,
    /// The room, or the database.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl From<DbError> for MembershipError {
    fn from(error: DbError) -> Self {
        Self::Send(error.into())
    }
}

impl From<AddError> for MembershipError {
    fn from(error: AddError) -> Self {
        Self::Send(error.into())
    }
}

impl From<StatePending> for MembershipError {
    fn from(error: StatePending) -> Self {
        Self::Send(error.into())
    }
}
