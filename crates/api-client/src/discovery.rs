//! The features and limits of this server.

pub(crate) mod discover_homeserver;
pub(crate) mod discover_policy_server;
pub(crate) mod discover_support;
pub(crate) mod federation_whitelist;
pub(crate) mod get_capabilities;
pub(crate) mod get_supported_versions;
