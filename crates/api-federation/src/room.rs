//! Rooms as a whole.

pub(crate) mod get_room_complexity;
