//! What this server is and can do.

pub mod discover_homeserver;
pub mod get_capabilities;
pub mod get_supported_versions;
