//! The changes for a user's device between two points, as values: rooms with their timelines, state and counts,
//! account data, presence, messages to the device, device lists. How a version of `/sync` writes them down is decided
//! elsewhere.
//!
//! [`DeltaReader::read`] returns a [`SyncDelta`], which `{:#?}` prints. It hands rooms to a [`RoomSink`] one at a time:
//! the events of all rooms of a user need not be in memory together.

mod account_data;
pub(crate) mod all_user_changes;
pub(crate) mod context;
pub(crate) mod device_lists;
mod events;
pub(crate) mod has_changes;
mod joined;
mod key_counts;
pub(crate) mod left;
pub(crate) mod membership;
mod presence;
mod profile_fields;
pub(crate) mod profiles;
mod reader;
mod request;
mod rooms;
mod sent_members;
mod state;
pub(crate) mod sticky;
pub(crate) mod stripped;
mod summary;
pub(crate) mod timeline;
pub(crate) mod to_device;
mod user_changes;

pub use device_lists::DeviceListDelta;
pub use events::{AccountData, EventList};
pub use joined::{EphemeralDelta, JoinedRoomDelta};
pub use key_counts::KeyCounts;
pub use left::LeftRoomDelta;
pub use profile_fields::ProfileFields;
pub use profiles::{ProfileUpdate, ProfileUpdates};
pub use reader::{DeltaReader, SyncDelta};
pub use request::{DeltaParts, DeltaRequest, Now, SyncOptions};
pub use rooms::{RoomDelta, RoomDeltas, RoomSink};
pub use sent_members::NewMembers;
pub use stripped::StrippedRoomDelta;
pub use summary::Summary;
pub use timeline::TimelineDelta;
pub use to_device::MessagesDelta;
pub(crate) use user_changes::UserChanges;
