//! Questions about users, rooms and whatever else.

pub mod get_custom_information;
pub mod get_profile_information;
pub mod get_room_information;
