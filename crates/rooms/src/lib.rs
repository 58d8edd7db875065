//! The room engine: rooms in memory, what is sent into them, and their history.
//!
//! [`Rooms`] is the registry of rooms in use. A [`Room`] hands readers an immutable [`RoomView`] and lets one writer at
//! a time extend it. [`EventSender`], [`RoomCreator`] and [`MembershipChanger`] write; everything they write goes
//! through one persister that commits batches over all rooms. [`timeline`] and [`relations`] read history.

pub mod relations;
pub mod timeline;

mod client_json;
mod create;
mod head;
mod heroes;
mod load;
mod membership;
mod membership_kind;
mod memberships;
mod persist;
mod registry;
mod room;
mod send;
mod sorted;
mod state_map;
mod timeline_event;

pub use membership_kind::MembershipKind;
pub use memberships::{Membership, Memberships, UserRooms};
pub use registry::Rooms;
pub use room::{CurrentState, HistoryVisibility, JoinRule, Room, RoomView};
pub use sorted::SortedSet;
pub use state_map::{StateEntry, StateMap};
pub use timeline_event::{ClientFormat, Replaced, TimelineEvent, Transaction, push_json_str};
