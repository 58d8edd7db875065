//! What authorizes events.

pub mod get_event_authorization;
