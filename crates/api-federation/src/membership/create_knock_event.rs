//! Knocks.

pub(crate) mod v1;
