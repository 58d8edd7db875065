//! Listening to rooms, also without joining them, as clients do to preview a room.

pub(crate) mod get_current_state;
pub(crate) mod listen_to_new_events;
