//! `GET /_matrix/federation/v1/state_ids/{roomId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid>)

use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde::Deserialize;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/state_ids/{roomId}");
/// The largest response, in bytes: some 600,000 ids.
const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;

/// The state before an event, by ids.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// The state events.
    pub pdu_ids: Vec<EventId>,
    /// Their auth chain.
    pub auth_chain_ids: Vec<EventId>,
}

/// Returns the ids of the state before an event and of its auth chain.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    event: &EventId,
) -> Result<Response, FederationError> {
    let call = ENDPOINT.call(&[room.as_str()], MAX_RESPONSE_BYTES).query("event_id", event.as_str());
    client.call_json(server, call).await
}
