//! `GET /_matrix/federation/v1/event/{eventId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>)

use plexus_protocol::id::{EventId, ServerName};
use serde::Deserialize;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::{MAX_EVENT_BYTES, RawPdu};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/event/{eventId}");

#[derive(Deserialize)]
struct Response {
    pdus: Vec<RawPdu>,
}

/// Returns one event.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, event: &EventId) -> Result<RawPdu, FederationError> {
    let response: Response = client.call_json(server, ENDPOINT.call(&[event.as_str()], MAX_EVENT_BYTES)).await?;
    let event = response.pdus.into_iter().next();
    event.ok_or_else(|| FederationError::malformed_response(server, "there is no event in it"))
}
