//! The repositories: plain functions over [`Tx`](crate::Tx), one file per subject. All SQL is here.
//!
//! Structs are rows; a field without a comment is the column of that name, which `migrations` describes.

#![expect(missing_docs, reason = "fields are columns, and the schema describes these")]

pub mod account_data;
pub mod aliases;
pub mod blocked_rooms;
pub mod bounds;
pub mod checks;
pub mod current_state;
pub mod dehydrated_devices;
pub mod delayed_events;
pub mod destinations;
pub mod device_keys;
pub mod device_lists;
pub mod devices;
pub mod erasure;
pub mod event_graph;
pub mod events;
pub mod federation_out;
pub mod filters;
pub mod guest_access;
pub mod interned;
pub mod key_backup;
pub mod log;
pub mod media;
pub mod media_files;
pub mod memberships;
pub mod nids;
pub mod one_time_keys;
pub mod other_changes;
pub mod partial_joins;
pub mod presence;
pub mod profiles;
pub mod push_rules;
pub mod pushers;
pub mod receipts;
pub mod received;
pub mod redactions;
pub mod registration_tokens;
pub mod relations;
pub mod remote_devices;
pub mod remote_media;
pub mod reports;
pub mod room_overviews;
pub mod room_purges;
pub mod rooms;
pub mod scheduled_tasks;
pub mod search_documents;
pub mod search_progress;
pub mod search_sources;
pub mod server;
pub mod server_keys;
pub mod sliding_sync;
pub mod state_snapshots;
pub mod sticky_events;
pub mod thread_subscriptions;
pub mod timeline_gaps;
pub mod to_device;
pub mod tokens;
pub mod transactions;
pub mod ui_auth;
pub mod unread;
pub mod user_directory;
pub mod user_ids;
pub mod users;
