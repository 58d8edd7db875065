//! The event nearest to a time.

pub(crate) mod v1;
