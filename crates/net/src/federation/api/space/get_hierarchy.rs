//! `GET /_matrix/federation/v1/hierarchy/{roomId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>)

use std::time::Duration;

use plexus_protocol::id::{RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/hierarchy/{roomId}");
const MAX_RESPONSE_BYTES: usize = 2 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// The summaries of a room and of its children that the server knows, not yet parsed.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// The room.
    pub room: Box<RawValue>,
    /// Its children.
    #[serde(default)]
    pub children: Vec<Box<RawValue>>,
}

/// Returns the summary of a room, and of those of its children that `server` knows.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, room: &RoomId) -> Result<Response, FederationError> {
    client.call_json(server, ENDPOINT.call(&[room.as_str()], MAX_RESPONSE_BYTES).timeout(TIMEOUT)).await
}
