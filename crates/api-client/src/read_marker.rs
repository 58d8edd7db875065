//! Read markers.

pub mod set_read_marker;
