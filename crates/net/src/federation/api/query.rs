//! Profiles and room aliases.

pub mod get_profile_information;
pub mod get_room_information;
