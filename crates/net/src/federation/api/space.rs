//! Spaces.

pub mod get_hierarchy;
