//! The two forms of syncing.

pub(crate) mod v3;
