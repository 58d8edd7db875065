//! Sync on real rooms and both databases.

#![expect(clippy::expect_used, clippy::panic, reason = "a test panics where it fails")]

mod delta;
mod following;
mod incremental;
mod initial;
mod lists;
mod repositories;
mod support;
mod waiting;
