//! Serves requests of other servers about rooms. Each function is given the origin of the request, and returns no more
//! than it may know.

mod admission;
mod complexity;
mod events;
mod history;
mod invite;
mod make_membership;
mod policy;
mod send_membership;
mod space;
mod state;
mod visibility;

use plexus_protocol::auth::AuthRejection;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::model::limits::LimitError;
use plexus_rooms::write::error::SendError;
use plexus_store::DbError;

pub use complexity::complexity;
pub use events::pdus;
pub use history::{MAX_BACKFILL, MAX_MISSING, backfill, event, missing_events, timestamp_to_event};
pub use invite::check_room_state;
pub use make_membership::{make_join, make_knock, make_leave};
pub use policy::{PolicySignError, policy_signature};
pub use send_membership::{AcceptedMembership, SentMembership, SentMembershipError, send_join, send_knock, send_leave};
pub use space::{Hierarchy, hierarchy};
pub use state::{StateBefore, auth_chain, joined_state, state_before, state_ids_before, stripped_state_events};

/// Why a request of another server is refused.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// This server does not know the room, or has no user in it.
    #[error("this server is not in the room")]
    UnknownRoom,
    /// The requesting server has no user in the room.
    #[error("your server is not in the room")]
    NotInRoom,
    /// The room's `m.room.server_acl` denies the requesting server.
    #[error("the room's access control list denies your server")]
    DeniedByAcl,
    /// There is no such event in the room, or it is not in the room's graph.
    #[error("the event was not found")]
    UnknownEvent,
    /// The user is not a user of the requesting server.
    #[error("the user is not on your server")]
    UserOfOtherServer,
    /// The requesting server does not support the room's version.
    #[error("your server does not support room version {0}")]
    IncompatibleVersion(RoomVersion),
    /// The room's join rule allows members of other rooms, and the user is in none of them.
    #[error("the user is in none of the rooms whose members may join")]
    NotInAllowedRoom,
    /// The room's join rule allows members of other rooms, and this server does not know all of these rooms.
    #[error("this server is in none of the rooms whose members may join")]
    UnableToAuthoriseJoin,
    /// No user of this server has the power to invite, which authorizing the join takes.
    #[error("no user of this server can let others in")]
    UnableToGrantJoin,
    /// The user that the join names in `join_authorised_via_users_server` cannot authorize it.
    #[error("{0}")]
    NotAnAuthoriser(&'static str),
    /// A limit of this server is reached.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The authorization rules do not allow it.
    #[error("{0}")]
    Forbidden(AuthRejection),
    /// The event could not be made.
    #[error(transparent)]
    Send(SendError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<SendError> for ServeError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Forbidden(rejection) => Self::Forbidden(rejection),
            SendError::Db(error) => Self::Db(error),
            other => Self::Send(other),
        }
    }
}
