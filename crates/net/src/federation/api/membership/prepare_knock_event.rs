//! `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid>)

use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::rules::RoomVersion;

use super::EventTemplate;
use crate::federation::api::MAX_EVENT_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/make_knock/{roomId}/{userId}");

/// Returns a knock of the user to be completed and signed.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    user: &UserId,
) -> Result<EventTemplate, FederationError> {
    let call = ENDPOINT.call(&[room.as_str(), user.as_str()], MAX_EVENT_BYTES);
    let call = RoomVersion::ALL.iter().fold(call, |call, version| call.query("ver", version.as_str()));
    client.call_json(server, call).await
}
