//! Templates of knocks.

pub(crate) mod v1;
