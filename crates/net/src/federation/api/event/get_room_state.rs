//! `GET /_matrix/federation/v1/state/{roomId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>)

use plexus_protocol::id::{EventId, RoomId, ServerName};

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::{MAX_STATE_BYTES, STATE_TIMEOUT};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;
use crate::federation::response::StreamedResponse;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/state/{roomId}");

/// Returns the state before an event and its auth chain, to be read piece by piece.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    event: &EventId,
) -> Result<StreamedResponse, FederationError> {
    let call = ENDPOINT.call(&[room.as_str()], MAX_STATE_BYTES).query("event_id", event.as_str());
    client.stream(server, call.timeout(STATE_TIMEOUT)).await
}
