//! Questions about users, rooms and whatever else.

pub(crate) mod get_custom_information;
pub(crate) mod get_profile_information;
pub(crate) mod get_room_information;
