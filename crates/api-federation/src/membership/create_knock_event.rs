//! Knocks.

pub mod v1;
