//! The room directory.

pub mod get_public_rooms;
pub mod get_public_rooms_filtered;

/// The largest page of a directory that is read, in bytes.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
