//! Serves requests of other servers about rooms. Each function is given the origin of the request, and returns no more
//! than it may know.

mod admission;
mod answer;
mod arrival;
mod handshake;
mod history;
mod invite;
mod space;
mod state;
mod visibility;

use plexus_protocol::auth::AuthRejection;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::model::limits::LimitError;
use plexus_rooms::write::error::SendError;
use plexus_store::DbError;

pub use answer::pdus;
pub use arrival::{Arrival, ArrivalError, Arrived, join, knock, leave};
pub use handshake::{Template, make_join, make_knock, make_leave};
pub use history::{MAX_BACKFILL, MAX_MISSING, MissingFrom, backfill, event, missing_events, near_time};
pub use invite::check_room_state;
pub use space::{Hierarchy, hierarchy};
pub use state::{
    StateBefore, StateIds, auth_chain, joined_state, state_before, state_ids_before, stripped_state_events,
};

/// Why a request of another server is refused.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// This server does not know the room, or has nobody in it.
    #[error("this server is not in the room")]
    UnknownRoom,
    /// The asking server has nobody in the room.
    #[error("your server is not in the room")]
    NotInRoom,
    /// The room's `m.room.server_acl` keeps the asking server out.
    #[error("the room's access control list does not let your server in")]
    DeniedByAcl,
    /// There is no such event in the room, or nothing is known of its place there.
    #[error("the event was not found")]
    UnknownEvent,
    /// The user is not one of the asking server's.
    #[error("the user is not on your server")]
    UserOfOtherServer,
    /// The asking server does not know the room's version.
    #[error("your server does not support room version {0}")]
    IncompatibleVersion(RoomVersion),
    /// The room lets in members of other rooms, and the user is in none of them.
    #[error("the user is in none of the rooms whose members may join")]
    NotInAllowedRoom,
    /// The room lets in members of other rooms, of which this server knows none.
    #[error("this server is in none of the rooms whose members may join")]
    UnableToAuthoriseJoin,
    /// Nobody on this server has the power to let the user in.
    #[error("no user of this server can let others in")]
    UnableToGrantJoin,
    /// The join names a user as authoriser who cannot be one.
    #[error("{0}")]
    NotAnAuthoriser(&'static str),
    /// This server does not let anybody do that now.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The room does not allow it.
    #[error("{0}")]
    Forbidden(AuthRejection),
    /// Making the event.
    #[error(transparent)]
    Send(SendError),
    /// The database.
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
