//! The actions of users: sending events, creating rooms, changing memberships and profiles, upgrading rooms.

pub(crate) mod auto_join;
pub(crate) mod create;
pub(crate) mod dummy_events;
pub(crate) mod guest_removal;
mod member_content;
pub mod membership;
pub mod profile;
pub(crate) mod send;
pub mod upgrade;
