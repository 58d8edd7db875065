//! The forms of syncing.

pub(crate) mod v3;
pub(crate) mod v5;
