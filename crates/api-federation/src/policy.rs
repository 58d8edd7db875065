//! This server as a policy server.

pub(crate) mod sign_event;
