//! Timelines, relations, and rooms as seen from outside: summaries, directory, stripped state.

pub mod directory;
pub mod relations;
pub mod stripped;
pub mod summary;
pub mod timeline;
pub(crate) mod user_directory;
