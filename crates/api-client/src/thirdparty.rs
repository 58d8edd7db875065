//! Networks behind bridges (client-server API, "Third-party networks").

pub(crate) mod get_location_for_protocol;
pub(crate) mod get_location_for_room_alias;
pub(crate) mod get_protocol;
pub(crate) mod get_protocols;
pub(crate) mod get_user_for_protocol;
pub(crate) mod get_user_for_user_id;

use plexus_service::third_party_networks::Fields;

/// Returns the parameters of a query without those that say who makes the request.
fn searched(mut fields: Fields) -> Fields {
    fields.retain(|(name, _)| !matches!(&**name, "access_token" | "user_id" | "device_id"));
    fields
}
