//! From a built event to disk.

pub mod append;
pub mod auth_state;
pub mod build;
pub mod censor;
pub mod content;
pub mod draft;
pub mod error;
pub(crate) mod event_rows;
pub mod follower;
pub mod graph;
pub mod head_lock;
pub mod housekeeping;
pub mod merge;
pub mod out_of_band;
pub mod outliers;
pub mod partial_state;
pub mod past;
pub mod peer_error;
pub mod peers;
pub mod pending;
pub mod persist;
pub mod policy;
pub mod redactions;
pub mod transactions;
pub mod writer;
