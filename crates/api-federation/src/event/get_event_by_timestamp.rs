//! The event nearest to a time.

pub mod v1;
