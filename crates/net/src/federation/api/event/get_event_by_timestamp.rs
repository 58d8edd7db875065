//! `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>)

use std::time::Duration;

use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde::Deserialize;

use crate::federation::api::MAX_EVENT_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::call::Patience;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/timestamp_to_event/{roomId}");
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where to search from a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Earlier events.
    Backward,
    /// Later events.
    Forward,
}

/// The event nearest to a point in time.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// Its id.
    pub event_id: EventId,
    /// Unix ms.
    pub origin_server_ts: u64,
}

/// Returns the event nearest to `ts` (Unix ms) in one direction.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    ts: u64,
    direction: Direction,
) -> Result<Response, FederationError> {
    let dir = match direction {
        Direction::Backward => "b",
        Direction::Forward => "f",
    };
    let call = ENDPOINT.call(&[room.as_str()], MAX_EVENT_BYTES).query("ts", &ts.to_string()).query("dir", dir);
    client.call_json(server, call.timeout(TIMEOUT).patience(Patience::Background)).await
}
