//! Joins.

pub mod v2;
