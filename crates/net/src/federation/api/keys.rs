//! End-to-end encryption keys.

pub mod claim_keys;
pub mod get_keys;
