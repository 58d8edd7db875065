//! Signing keys of servers.

pub mod get_remote_server_keys_batch;
pub mod get_server_keys;
