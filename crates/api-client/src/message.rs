//! Messages: sending them, and reading them page by page.

pub(crate) mod get_message_events;
pub(crate) mod send_message_event;
