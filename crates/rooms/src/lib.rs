//! The room engine: rooms in memory, what is sent into them, and their history.
//!
//! [`Rooms`] is the registry of rooms in use. A [`Room`] hands readers an immutable [`RoomView`] and lets one writer at
//! a time extend it. [`EventSender`], [`RoomCreator`] and [`MembershipChanger`] write; everything they write goes
//! through one persister that commits batches over all rooms. [`timeline`] and [`relations`] read history,
//! [`summary`] and [`directory`] look at rooms from outside, [`upgrade`] replaces them, [`serve`] answers other servers.

mod actions;
mod model;
mod read;
mod write;

pub mod inbox;
pub mod peers;
pub mod serve;

mod fill;
mod outside;
mod policy;
mod receive;
mod state_filler;

pub use actions::auto_join::{AutoJoin, AutoJoinSettings};
pub use actions::create::{
    CreateError, InitialState, NewRoom, Preset, RoomCreator, RoomDefaults, default_power_levels,
};
pub use actions::guest_removal::GuestRemoval;
pub use actions::limits::{Authority, LimitError, MembershipLimits};
pub use actions::membership::{MembershipChange, MembershipChanger, MembershipError, Redemption};
pub use actions::profile::{ProfileError, Profiles};
pub use actions::send::content::ContentError;
pub use actions::send::{EventSender, NewEvent};
pub use actions::upgrade;
pub use model::cache_size::CacheSize;
pub use model::current_state::CurrentState;
pub use model::memberships::{Memberships, UserRooms};
pub use model::registry::{Rooms, RoomsOptions};
pub use model::room::{Room, RoomView};
pub use model::servers::Servers;
pub use model::sorted::SortedSet;
pub use model::state_map::{StateEntry, StateMap};
pub use model::timeline_event::{ClientFormat, Replaced, TimelineEvent, Transaction};
pub use plexus_store::repo::memberships::RoomMembership;
pub use read::stripped::{StrippedState, TooMuchStrippedState};
pub use read::user_directory::{FoundUser, UserDirectory, UserSearch};
pub use read::{directory, relations, stripped, summary, timeline};
pub use receive::{Accepted, Filled, PduReceiver, ReceiveError};
pub use state_filler::StateFiller;
pub use write::build::Sent;
pub use write::error::SendError;
