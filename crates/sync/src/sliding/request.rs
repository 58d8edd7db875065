//! A request of simplified sliding sync (MSC4186), in either of its forms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::LongPoll;
use plexus_protocol::id::{RoomId, UserId};
use plexus_store::Position;

use super::pos::Pos;
use super::required_state::RequiredState;
use crate::presence::PresenceState;

/// The forms in which clients send requests and read responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The accepted text of MSC4186.
    Stable,
    /// `org.matrix.simplified_msc3575`, as Synapse has it.
    Unstable,
}

/// A request.
#[derive(Debug, Clone)]
pub struct SlidingRequest {
    /// The form of the response.
    pub form: Form,
    /// The user who syncs.
    pub user: UserId,
    /// `None` for sessions without a device.
    pub device: Option<String>,
    /// Distinguishes connections of one device; may be empty.
    pub conn_id: String,
    /// The position of the last response; `None` begins a connection.
    pub pos: Option<Pos>,
    /// The lists, by name.
    pub lists: BTreeMap<String, List>,
    /// Rooms that are wanted whatever list they are in.
    pub subscriptions: BTreeMap<RoomId, RoomConfig>,
    /// What is wanted besides rooms.
    pub extensions: Extensions,
    /// How long to wait for changes. Ignored without `pos`.
    pub timeout: Duration,
    /// The user's presence while the device syncs.
    pub set_presence: PresenceState,
    /// Ends waiting early when its connection has to make room for another.
    pub long_poll: LongPoll,
}

/// What is wanted of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomConfig {
    /// The most timeline events.
    pub timeline_limit: u32,
    /// The state events.
    pub required_state: Arc<RequiredState>,
}

/// A list: the rooms that pass its filters, in order of their last activity.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// What is wanted of each room.
    pub config: RoomConfig,
    /// The first and the last index that is wanted; `None`: all.
    pub ranges: Option<Vec<(usize, usize)>>,
    /// The rooms in the list.
    pub filters: ListFilters,
}

/// The rooms in a list: those that pass all filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named as in MSC4186")]
pub struct ListFilters {
    pub is_dm: Option<bool>,
    pub spaces: Option<Vec<String>>,
    pub is_encrypted: Option<bool>,
    pub is_invite: Option<bool>,
    /// `None` in the list: rooms without a type.
    pub room_types: Option<Vec<Option<String>>>,
    /// As `room_types`.
    pub not_room_types: Option<Vec<Option<String>>>,
    /// Only in the unstable form: part of the name, in any case.
    pub room_name_like: Option<String>,
    pub tags: Option<Vec<String>>,
    pub not_tags: Option<Vec<String>>,
}

/// What is wanted besides rooms; `None`: nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Extensions {
    /// Messages to the device (MSC3885).
    pub to_device: Option<ToDeviceExtension>,
    /// Device lists and counts of keys (MSC3884).
    pub e2ee: bool,
    /// Account data, global and of these rooms (MSC3959).
    pub account_data: Option<ExtensionRooms>,
    /// Receipts of these rooms (MSC3960).
    pub receipts: Option<ExtensionRooms>,
    /// Typing notifications of these rooms (MSC3961).
    pub typing: Option<ExtensionRooms>,
    /// The most changes of subscriptions to threads (MSC4308).
    pub thread_subscriptions: Option<u64>,
    /// Sticky events of the rooms of all lists, whatever their ranges, and of rooms with a subscription (MSC4480).
    pub sticky_events: Option<StickyExtension>,
    /// Profiles of the users in these rooms (MSC4262).
    pub profiles: Option<ProfilesExtension>,
}

/// The request for sticky events.
#[derive(Debug, Clone, Copy)]
pub struct StickyExtension {
    /// The most events in one response.
    pub limit: usize,
    /// The client has the sticky events at or before this.
    pub since: Option<Position>,
}

/// The request for profiles.
#[derive(Debug, Clone)]
pub struct ProfilesExtension {
    /// The rooms whose users' profiles are wanted; changed ones are, of all users who share a room.
    pub rooms: ExtensionRooms,
    /// The names of the fields that are wanted; `None`: all.
    pub fields: Option<Vec<String>>,
}

/// The request for messages to the device.
#[derive(Debug, Clone, Copy)]
pub struct ToDeviceExtension {
    /// The most messages in one response.
    pub limit: u64,
    /// The device has the messages at or before this.
    pub since: Option<Position>,
}

/// The rooms that an extension is about, among those of the response.
#[derive(Debug, Clone, Default)]
pub struct ExtensionRooms {
    /// Names of lists; `None`: all.
    pub lists: Option<Vec<String>>,
    /// Ids of rooms with a subscription; `None`: all.
    pub rooms: Option<Vec<String>>,
}
