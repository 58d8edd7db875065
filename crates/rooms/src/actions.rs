//! What users do: send events, create rooms, change memberships and profiles, upgrade rooms.

pub(crate) mod auto_join;
pub(crate) mod create;
pub(crate) mod guest_removal;
mod member_content;
pub mod membership;
pub mod profile;
pub(crate) mod send;
pub mod upgrade;
