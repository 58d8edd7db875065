//! The rooms of a space.

pub(crate) mod v1;
