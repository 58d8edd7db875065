//! Networks behind bridges (client-server API, "Third-party networks"). Application services name the networks; as long
//! as this server has none, there are no networks, and no users or rooms in them.

pub(crate) mod get_location_for_protocol;
pub(crate) mod get_location_for_room_alias;
pub(crate) mod get_protocol;
pub(crate) mod get_protocols;
pub(crate) mod get_user_for_protocol;
pub(crate) mod get_user_for_user_id;
