//! The room engine: rooms in memory, sending events to them, and reading their history.
//!
//! [`Rooms`] loads rooms and keeps them in memory. A [`Room`] gives readers an immutable [`RoomView`], which one writer
//! at a time extends. [`EventSender`], [`RoomCreator`] and [`MembershipChanger`] write; all their events go through one
//! persister, which commits batches of all rooms. [`timeline`] and [`relations`] read history, [`summary`] and
//! [`directory`] describe rooms to users who are not in them, [`upgrade`] replaces rooms.

#![warn(missing_docs, unreachable_pub)]

pub mod actions;
pub mod model;
pub mod read;
pub mod write;

pub use actions::auto_join::{AutoJoin, AutoJoinSettings};
pub use actions::create::{
    CreateError, InitialState, NewRoom, Preset, RoomCreator, RoomDefaults, default_power_levels,
};
pub use actions::dummy_events::DummyEvents;
pub use actions::guest_removal::GuestRemoval;
pub use actions::membership::{
    ComplexityTasks, MembershipChange, MembershipChanger, MembershipError, RemoteMemberships, RemoteRoomLimit,
    ThirdPartyInviteClaim, Via,
};
pub use actions::profile::{ProfileError, ProfileScope, Profiles};
pub use actions::send::{EventSender, NewEvent};
pub use actions::upgrade;
pub use model::accepted_invites::AcceptedInvites;
pub use model::cache_size::CacheSize;
pub use model::current_state::CurrentState;
pub use model::erased_users::ErasedUsers;
pub use model::heroes::heroes_among;
pub use model::index_progress::IndexProgress;
pub use model::limits::{Authority, LimitError, MembershipLimits};
pub use model::memberships::{Memberships, UserRooms};
pub use model::partial_state::StatePending;
pub use model::room::Room;
pub use model::room_view::RoomView;
pub use model::rooms::Rooms;
pub use model::servers::Servers;
pub use model::sorted::SortedSet;
pub use model::state_map::{StateEntry, StateMap};
pub use model::sticky_events::StickyEvents;
pub use model::timeline_event::{ClientFormat, DELAYED_EVENT_DEVICE, Replaced, TimelineEvent, Transaction};
pub use plexus_store::repo::memberships::RoomMembership;
pub use read::stripped::{StrippedState, TooMuchStrippedState};
pub use read::user_directory::{FoundUser, UserDirectory, UserSearch};
pub use read::{directory, relations, stripped, summary, timeline};
pub use write::append::Sent;
pub use write::content::ContentError;
pub use write::error::AddError;
pub use write::error::SendError;
pub use write::housekeeping::Housekeeping;
pub use write::own_policy::{OwnPolicy, PolicyRefusal};
pub use write::peer_error::PeerError;
pub use write::peers::{PolicyServers, RemoteAliases};
pub use write::sender_rules::{SenderRules, is_notices_room_of};
pub use write::sticky::StickyJudge;
pub use write::writer::{RoomWriter, RoomsOptions};
