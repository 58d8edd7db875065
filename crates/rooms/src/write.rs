//! From a built event to disk.

pub(crate) mod build;
pub(crate) mod censor;
pub(crate) mod error;
pub(crate) mod outliers;
pub(crate) mod persist;
pub(crate) mod redactions;
pub(crate) mod transactions;
