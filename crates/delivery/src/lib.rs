//! Followers of the clock: what users and devices are told, and what they tell about themselves.
//!
//! - [`notifier`]: what changed for whom, and waking those who wait
//! - [`sync`]: `GET /sync`, on [`token`]s and [`filter`]s
//! - [`unread`], [`notifications`]: unread counts and what they count, from push rules ([`settings`]) and [`receipts`]
//! - [`typing`], [`presence`]: what is not durable, numbered by [`ephemeral`]
//! - [`to_device`], [`push_rules`], [`tags`]: what clients write that devices are told
//! - [`remote_devices`]: devices and keys of other servers' users
//! - [`federation_out`]: what goes to other servers; [`edu`]: what comes from them besides events
//! - [`history`]: reading timelines, memory first

pub mod edu;
pub mod ephemeral;
pub mod federation_out;
pub mod filter;
pub mod history;
pub mod notifications;
pub mod notifier;
pub mod presence;
pub mod push_rules;
pub mod receipts;
pub mod remote_devices;
pub mod settings;
pub mod sync;
pub mod tags;
pub mod to_device;
pub mod token;
pub mod typing;
pub mod unread;

mod json;

pub use edu::{EduReceiver, EduReceiverParts};
pub use federation_out::{FederationOut, FederationOutParts};
pub use filter::{Filter, FilterError, Filters};
pub use notifications::Notifications;
pub use notifier::Notifier;
pub use presence::{Presence, PresenceSettings, PresenceState};
pub use receipts::{NewReceipt, ReceiptType, Receipts};
pub use remote_devices::{RemoteDevices, RemoteDevicesParts};
pub use settings::SettingsCache;
pub use sync::{SyncEngine, SyncError, SyncOptions, SyncParts, SyncRequest};
pub use to_device::{ToDevice, ToDeviceError};
pub use token::SyncToken;
pub use typing::Typing;
pub use unread::UnreadCounts;
