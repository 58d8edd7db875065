//! What allowed events.

pub mod get_event_authorization;
