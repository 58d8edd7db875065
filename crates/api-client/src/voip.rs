//! Calls.

pub mod get_turn_server_info;
