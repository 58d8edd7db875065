//! `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>)

use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::json::Object;

use crate::federation::api::MAX_SHORT_RESPONSE_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v1/exchange_third_party_invite/{roomId}");

/// Asks a server in the room to turn a third-party invite into an invite.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    invite: &Object,
) -> Result<(), FederationError> {
    let call = ENDPOINT.call(&[room.as_str()], MAX_SHORT_RESPONSE_BYTES).body(invite.to_json());
    client.call(server, call).await.map(drop)
}
