//! Older events.

pub mod get_backfill;
