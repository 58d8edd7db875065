//! Networks behind bridges (client-server API, "Third-party networks"). Application services name the networks; as long
//! as this server has none, there are no networks, and no users or rooms in them.

pub mod get_location_for_protocol;
pub mod get_location_for_room_alias;
pub mod get_protocol;
pub mod get_protocols;
pub mod get_user_for_protocol;
pub mod get_user_for_user_id;
