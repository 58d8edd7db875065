//! Sync on real rooms and both databases.

mod delta;
mod incremental;
mod initial;
mod lists;
mod repositories;
mod support;
mod waiting;
