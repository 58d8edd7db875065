//! History.

pub mod get_backfill;
