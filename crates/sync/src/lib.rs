//! What clients are told, and what they write that only clients are told.
//!
//! - [`notifier`]: what changed for whom, and waking those who wait
//! - [`sync`]: `GET /sync`, on [`token`]s and [`filter`]s
//! - [`unread`], [`notifications`]: unread counts and what they count, from push rules ([`settings`]) and [`receipts`]
//! - [`typing`], [`presence`]: what is not durable, numbered by [`ephemeral`]
//! - [`to_device`], [`push_rules`], [`tags`]: what clients write that devices are told
//! - [`history`]: reading timelines, memory first
//! - [`json`]: writing JSON text without building values

pub mod ephemeral;
pub mod filter;
pub mod history;
pub mod json;
pub mod notifications;
pub mod notifier;
pub mod presence;
pub mod push_rules;
pub mod receipts;
pub mod settings;
pub mod sync;
pub mod tags;
pub mod to_device;
pub mod token;
pub mod typing;
pub mod unread;

pub use filter::{Filter, FilterError, Filters};
pub use notifications::Notifications;
pub use notifier::Notifier;
pub use presence::{Presence, PresenceSettings, PresenceState};
pub use receipts::{NewReceipt, ReceiptType, Receipts};
pub use settings::SettingsCache;
pub use sync::{SyncEngine, SyncError, SyncOptions, SyncParts, SyncRequest};
pub use to_device::{ToDevice, ToDeviceError};
pub use token::SyncToken;
pub use typing::Typing;
pub use unread::UnreadCounts;
