//! Messages: sending them, and reading them page by page.

pub mod get_message_events;
pub mod send_message_event;
