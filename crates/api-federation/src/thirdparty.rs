//! Invites of people who are known by an address only.

pub(crate) mod bind_callback;
pub(crate) mod exchange_invite;
