//! Sync on real rooms and both databases.

mod incremental;
mod initial;
mod lists;
mod repositories;
mod support;
mod waiting;
