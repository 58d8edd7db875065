//! Discovery of this server, and its keys.

pub(crate) mod discover_homeserver;
pub(crate) mod get_remote_server_keys;
pub(crate) mod get_remote_server_keys_batch;
pub(crate) mod get_server_keys;
pub(crate) mod get_server_version;
pub(crate) mod own_keys;
