//! What users do: send events, create rooms, change memberships and profiles, upgrade rooms.

pub mod auto_join;
pub mod create;
pub mod guest_removal;
mod member_content;
pub mod membership;
pub mod profile;
pub mod send;
pub mod upgrade;
