//! Syncing.

pub(crate) mod initial_sync;
pub(crate) mod sync_events;
