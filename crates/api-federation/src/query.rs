//! Questions about users, rooms and whatever else.

pub mod get_custom_information;
