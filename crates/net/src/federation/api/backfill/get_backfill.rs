//! `GET /_matrix/federation/v1/backfill/{roomId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid>)

use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde::Deserialize;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::{RawPdu, max_bytes_of_pdus};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/backfill/{roomId}");

#[derive(Deserialize)]
struct Response {
    pdus: Vec<RawPdu>,
}

/// Returns events and what came before them, `limit` at most.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    room: &RoomId,
    events: &[EventId],
    limit: u32,
) -> Result<Vec<RawPdu>, FederationError> {
    let call = ENDPOINT.call(&[room.as_str()], max_bytes_of_pdus(limit)).query("limit", &limit.to_string());
    let call = events.iter().fold(call, |call, event| call.query("v", event.as_str()));
    let response: Response = client.call_json(server, call).await?;
    Ok(response.pdus)
}
