//! Knocking.

pub mod knock_room;
