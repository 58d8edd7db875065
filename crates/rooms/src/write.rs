//! From a draft to a committed event.

pub mod append;
pub(crate) mod auth_state;
pub mod backfill;
pub mod build;
pub mod censor;
pub(crate) mod content;
pub mod draft;
pub mod error;
pub(crate) mod event_rows;
pub(crate) mod follower;
pub mod graph;
pub(crate) mod head_lock;
pub(crate) mod housekeeping;
pub mod merge;
pub mod out_of_band;
pub mod outliers;
pub mod partial_state;
pub mod peer_error;
pub mod peers;
pub(crate) mod pending;
pub(crate) mod persist;
pub mod policy;
pub(crate) mod redactions;
pub(crate) mod sticky;
pub(crate) mod transactions;
pub mod writer;
