//! `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid>)

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use serde::Deserialize;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::{MAX_STRIPPED_EVENTS, RawPdu, max_bytes_of_pdus};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v1/send_knock/{roomId}/{eventId}");
const MAX_RESPONSE_BYTES: usize = max_bytes_of_pdus(MAX_STRIPPED_EVENTS);

#[derive(Deserialize)]
struct Response {
    knock_room_state: Vec<RawPdu>,
}

/// Sends a knock. Returns stripped state of the room. The status of the response says whether the knock has been
/// accepted, so a malformed body is not an error and counts as no state.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, knock: &Pdu) -> Result<Vec<RawPdu>, FederationError> {
    let call = ENDPOINT.call(&[knock.room_id().as_str(), knock.event_id().as_str()], MAX_RESPONSE_BYTES);
    let response = client.stream(server, call.body(knock.json().to_owned())).await?;
    let body = response.whole().await.map_err(|error| error.to_string());
    let response = body.and_then(|body| serde_json::from_slice(&body).map_err(|error| error.to_string()));
    Ok(response.map_or_else(
        |error| {
            tracing::info!("{server} has accepted a knock and does not describe the room: {error}");
            Vec::new()
        },
        |Response { knock_room_state }| knock_room_state,
    ))
}
