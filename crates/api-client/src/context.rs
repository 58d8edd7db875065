//! Events with the events around them.

pub(crate) mod get_context;
