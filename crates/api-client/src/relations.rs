//! Events that relate to others.

pub(crate) mod get_relating_events;
pub(crate) mod get_relating_events_with_rel_type;
pub(crate) mod get_relating_events_with_rel_type_and_event_type;
