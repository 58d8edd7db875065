//! Calls.

pub(crate) mod get_turn_server_info;
