//! Presence.

pub mod get_presence;
pub mod set_presence;
