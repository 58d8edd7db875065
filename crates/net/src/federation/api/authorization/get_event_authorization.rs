//! `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid>)

use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde::Deserialize;

use crate::federation::api::RawPdu;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/event_auth/{roomId}/{eventId}");
/// The largest auth chain of one event that is read, in bytes.
const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;

#[derive(Deserialize)]
struct Response {
    auth_chain: Vec<RawPdu>,
}

/// Returns the auth chain of an event.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    event: &EventId,
) -> Result<Vec<RawPdu>, FederationError> {
    let call = ENDPOINT.call(&[room.as_str(), event.as_str()], MAX_RESPONSE_BYTES);
    let response: Response = client.call_json(server, call).await?;
    Ok(response.auth_chain)
}
