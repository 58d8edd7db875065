//! Events with what surrounds them.

pub mod get_context;
