//! Media of other servers.

pub mod get_content;
