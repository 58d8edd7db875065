//! Keys of end-to-end encryption.

pub(crate) mod claim_keys;
pub(crate) mod get_keys;
