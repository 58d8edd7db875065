//! Reads timelines and relations, and describes rooms to users who are not in them: summaries, directories, stripped
//! state.

pub mod directory;
pub mod relations;
pub mod stripped;
pub mod summary;
pub mod timeline;
pub(crate) mod user_directory;
