//! What is in a space.

pub(crate) mod v1;
