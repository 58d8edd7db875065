//! The room engine: rooms in memory, what is sent into them, and their history.
//!
//! [`Rooms`] is the registry of rooms in use. A [`Room`] hands readers an immutable [`RoomView`] and lets one writer at
//! a time extend it. [`EventSender`], [`RoomCreator`] and [`MembershipChanger`] write; everything they write goes
//! through one persister that commits batches over all rooms. [`timeline`] and [`relations`] read history,
//! [`summary`] and [`directory`] look at rooms from outside, [`upgrade`] replaces them, [`serve`] answers other servers.

pub mod directory;
pub mod inbox;
pub mod peers;
pub mod relations;
pub mod serve;
pub mod stripped;
pub mod summary;
pub mod timeline;
pub mod upgrade;
mod user_directory;

mod auth_index;
mod auto_join;
mod build;
mod censor;
mod create;
mod error;
mod event_cache;
mod fill;
mod guest_removal;
mod head;
mod heroes;
mod interner;
mod known;
mod limits;
mod load;
mod membership;
mod membership_kind;
mod memberships;
mod nids;
mod outliers;
mod outside;
mod persist;
mod policy;
mod profile;
mod receive;
mod redactions;
mod registry;
mod room;
mod send;
mod servers;
mod sorted;
mod state_at;
mod state_filler;
mod state_map;
mod summaries;
mod timeline_event;
mod transactions;

pub use auto_join::{AutoJoin, AutoJoinSettings};
pub use build::Sent;
pub use create::{CreateError, InitialState, NewRoom, Preset, RoomCreator, RoomDefaults, default_power_levels};
pub use error::SendError;
pub use guest_removal::GuestRemoval;
pub use limits::{Authority, LimitError, MembershipLimits};
pub use membership::{MembershipChange, MembershipChanger, MembershipError, Redemption};
pub use membership_kind::MembershipKind;
pub use memberships::{Membership, Memberships, UserRooms};
pub use profile::{ProfileError, Profiles};
pub use receive::{Accepted, Filled, PduReceiver, ReceiveError};
pub use registry::{CacheSize, Rooms, RoomsOptions};
pub use room::{CurrentState, HistoryVisibility, JoinRule, Room, RoomView};
pub use send::content::ContentError;
pub use send::{EventSender, NewEvent};
pub use servers::Servers;
pub use sorted::SortedSet;
pub use state_filler::StateFiller;
pub use state_map::{StateEntry, StateMap};
pub use stripped::{StrippedState, TooMuchStrippedState};
pub use timeline_event::{ClientFormat, Replaced, TimelineEvent, Transaction};
pub use user_directory::{FoundUser, UserDirectory, UserSearch};
