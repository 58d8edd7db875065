//! What is in a space.

pub mod v1;
