//! The signature of a policy server.

pub(crate) mod v1;
