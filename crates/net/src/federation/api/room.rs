//! Rooms as a whole.

pub mod get_room_complexity;
