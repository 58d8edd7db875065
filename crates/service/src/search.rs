//! Search in messages, names and topics of rooms
//! (<https://spec.matrix.org/v1.19/client-server-api/#server-side-search>).
//!
//! - `index`: [`SearchIndex`] follows the log
//! - `build`: [`SearchIndexBuild`], a task, indexes what is older than the index
//! - `query`: [`Search`] finds events
//! - `rooms`: which rooms are searched
//!
//! The index may be behind the rooms, and it has what not everybody may see. So each event that it finds is read, and
//! found only if its text, as the reader sees it now, matches. Words that were redacted or edited away find nothing.

mod build;
mod index;
mod query;
mod rooms;

pub use build::SearchIndexBuild;
pub use index::{SearchIndex, abandon};
pub use query::{FoundEvent, FoundPage, Search, SearchCursor, SearchOrder, SearchQuery, SearchTurn};
