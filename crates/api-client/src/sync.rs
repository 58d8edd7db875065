//! What is new.

pub(crate) mod sync_events;
