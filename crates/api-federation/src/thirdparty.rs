//! Invites of people who are known by an address only.

pub mod bind_callback;
pub mod exchange_invite;
