//! What is new.

pub mod sync_events;
