//! What clients are sent: syncs, and everything in them that is not in the room engine.
//!
//! - [`notifier`]: which users, rooms and devices changed, and waking requests that wait
//! - [`delta`]: what changed for a device, as values; on [`token`]s and [`filter`]s
//! - [`v3`]: `GET /_matrix/client/v3/sync`, which writes a delta as JSON
//! - [`event_stream`], [`initial_sync`]: the endpoints that `/sync` replaced; previews of rooms rest on the first
//! - [`sliding`]: simplified sliding sync, which sends the rooms of lists and what its connections lack of them
//! - [`unread`], [`notifications`]: unread counts and the events they count, by push rules ([`settings`]) and
//!   [`receipts`]
//! - [`typing`], [`presence`]: in memory only, numbered by [`ephemeral`]
//! - [`to_device`], [`push_rules`], [`tags`], [`thread_subscriptions`]: what clients write for devices
//! - [`history`]: reading timelines, memory first

#![warn(missing_docs, unreachable_pub)]

pub mod delta;
pub mod ephemeral;
pub mod event_stream;
pub mod filter;
pub mod history;
pub mod initial_sync;
pub mod notifications;
pub mod notifier;
pub mod presence;
pub mod push_rules;
pub mod receipts;
pub mod settings;
pub mod sliding;
pub mod tags;
pub mod thread_subscriptions;
pub mod to_device;
pub mod token;
pub mod typing;
pub mod unread;
pub mod v3;

pub use delta::{DeltaParts, SyncOptions};
pub use event_stream::{EventStream, EventStreamError, StreamRequest};
pub use filter::{Filter, FilterError, Filters};
pub use initial_sync::InitialSyncRequest;
pub use notifications::Notifications;
pub use notifier::Notifier;
pub use presence::{Presence, PresenceSettings, PresenceState};
pub use receipts::{NewReceipt, ReceiptType, Receipts};
pub use settings::{PredefinedRules, SettingsCache, SettingsFeatures, UserSettings};
pub use sliding::{SlidingRequest, SlidingSync, SlidingSyncError, SlidingSyncParts};
pub use thread_subscriptions::ThreadSubscriptions;
pub use to_device::{ToDevice, ToDeviceError};
pub use token::SyncToken;
pub use typing::Typing;
pub use unread::UnreadCounts;
pub use v3::{SyncEngine, SyncError, SyncParts, SyncRequest};
