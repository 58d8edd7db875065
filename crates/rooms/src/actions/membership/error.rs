//! Errors of changes of membership.

use plexus_store::DbError;

use crate::model::limits::LimitError;
use crate::model::partial_state::StatePending;
use crate::write::error::{AddError, SendError};
use crate::write::peer_error::PeerError;

/// A membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The target is not in the room.
    #[error("The user is not in the room")]
    TargetNotInRoom,
    /// The target is not banned.
    #[error("The user is not banned")]
    NotBanned,
    /// The target is banned.
    #[error("The user is banned; unban them first")]
    Banned,
    /// The room is restricted, and the user is in none of the allowed rooms.
    #[error("You do not belong to any of the rooms whose members may join this room")]
    NotInAllowedRoom,
    /// No user of this server may authorise the join of a restricted room.
    #[error("No user of this server can let you into the room")]
    UnableToGrantJoin,
    /// The room does not allow guests.
    #[error("Guests are not allowed in this room")]
    GuestsForbidden,
    /// The target is a user of another server, and this server does not federate.
    #[error("Users of other servers cannot be invited: this server does not federate")]
    RemoteUser,
    /// No server in the room is known.
    #[error("No server is known that is in the room")]
    NoServer,
    /// The other server returned an unusable state of the room.
    #[error("The other server did not send a usable state of the room")]
    BadState,
    /// The request to another server failed.
    #[error(transparent)]
    Remote(#[from] PeerError),
    /// The user is in the room, which therefore cannot be forgotten.
    #[error("You are still in the room; leave it first")]
    StillInRoom,
    /// There is no third-party invite of the address.
    #[error("Nobody has invited the owner of that address")]
    NotInvited,
    /// The invite is to the user's room of server notices, which cannot be rejected.
    #[error("You cannot reject this invite")]
    NoticesInvite,
    /// The room is too complex for this server.
    #[error("{0}")]
    TooComplex(String),
    /// A limit of this server does not allow the change.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The identity server's key is not valid, or could not be checked.
    #[error("The identity server has withdrawn its key, or could not be asked about it")]
    IdentityKey,
    /// The room does not allow it, or the database failed.
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
