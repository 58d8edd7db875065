//! The two forms of syncing.

pub mod v3;
