//! Spaces.

pub mod elsewhere;
pub mod get_hierarchy;
