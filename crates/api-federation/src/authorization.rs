//! Auth chains.

pub(crate) mod get_event_authorization;
