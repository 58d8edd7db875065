//! What allowed events.

pub(crate) mod get_event_authorization;
