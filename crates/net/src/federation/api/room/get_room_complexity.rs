//! `GET /_matrix/federation/unstable/rooms/{roomId}/complexity`, an endpoint of Synapse.

use std::time::Duration;

use plexus_protocol::id::{RoomId, ServerName};
use serde::Deserialize;

use crate::federation::api::MAX_SHORT_RESPONSE_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/unstable/rooms/{roomId}/complexity");
const TIMEOUT: Duration = Duration::from_secs(5);

/// A room's complexity.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// The current state events, divided by 500.
    pub v1: f64,
}

/// Returns the complexity of a room that `server` is in.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, room: &RoomId) -> Result<Response, FederationError> {
    client.call_json(server, ENDPOINT.call(&[room.as_str()], MAX_SHORT_RESPONSE_BYTES).timeout(TIMEOUT)).await
}
