//! `PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}`
//! for servers that do not know version 2 of the endpoint

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::{MAX_STATE_BYTES, STATE_TIMEOUT};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;
use crate::federation::response::StreamedResponse;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v1/send_join/{roomId}/{eventId}");

/// Sends a join. Returns a status and the room's state in an array, to be read piece by piece.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    join: &Pdu,
) -> Result<StreamedResponse, FederationError> {
    let call = ENDPOINT.call(&[join.room_id().as_str(), join.event_id().as_str()], MAX_STATE_BYTES);
    client.stream(server, call.body(join.json().to_owned()).timeout(STATE_TIMEOUT)).await
}
