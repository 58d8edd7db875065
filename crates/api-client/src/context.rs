//! Events with what surrounds them.

pub(crate) mod get_context;
