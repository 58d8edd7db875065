//! Third-party invites.

pub mod exchange_invite;
