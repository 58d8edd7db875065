//! Spaces.

pub(crate) mod get_hierarchy;
