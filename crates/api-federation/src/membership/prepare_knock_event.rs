//! Templates of knocks.

pub mod v1;
