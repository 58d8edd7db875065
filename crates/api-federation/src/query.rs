//! Queries about users, rooms and other things.

pub(crate) mod get_custom_information;
pub(crate) mod get_profile_information;
pub(crate) mod get_room_information;
