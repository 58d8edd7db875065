//! `POST /_matrix/federation/v1/get_missing_events/{roomId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>)

use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde::{Deserialize, Serialize};

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::{RawPdu, max_bytes_of_pdus};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::post("/_matrix/federation/v1/get_missing_events/{roomId}");

/// The body of the request.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    /// The newest events that this server has.
    pub earliest_events: &'a [EventId],
    /// The events whose predecessors are wanted.
    pub latest_events: &'a [EventId],
    /// How many events to return at most.
    pub limit: u32,
    /// The smallest depth of an event to return.
    pub min_depth: u64,
}

#[derive(Deserialize)]
struct Response {
    events: Vec<RawPdu>,
}

/// Returns the events between those that this server has and those that it has received.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    request: &Request<'_>,
) -> Result<Vec<RawPdu>, FederationError> {
    let call = ENDPOINT.call(&[room.as_str()], max_bytes_of_pdus(request.limit)).repeatable().json(request)?;
    let response: Response = client.call_json(server, call).await?;
    Ok(response.events)
}
