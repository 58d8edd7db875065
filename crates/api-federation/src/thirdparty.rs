//! Invites of people who are known only by an address.

pub(crate) mod bind_callback;
pub(crate) mod exchange_invite;
