//! History.

pub(crate) mod get_backfill;
