//! Leaves.

pub mod v2;
