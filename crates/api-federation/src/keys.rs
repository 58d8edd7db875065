//! Keys of end-to-end encryption.

pub mod claim_keys;
pub mod get_keys;
