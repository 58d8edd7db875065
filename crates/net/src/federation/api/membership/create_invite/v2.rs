//! `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>)

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{MAX_RESPONSE_BYTES, Response};
use crate::federation::api::RawPdu;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v2/invite/{roomId}/{eventId}");

#[derive(Serialize)]
struct Request<'a> {
    room_version: &'static str,
    event: &'a RawValue,
    invite_room_state: &'a [RawPdu],
}

/// Sends an invite with stripped state. Returns the invite with the signature of the invited user's server.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    invite: &Pdu,
    invite_room_state: &[RawPdu],
) -> Result<RawPdu, FederationError> {
    let event = RawValue::from_string(invite.json().to_owned());
    let event = event.map_err(|error| FederationError::MalformedRequest(error.to_string()))?;
    let request = Request { room_version: invite.room_version().as_str(), event: &event, invite_room_state };
    let call = ENDPOINT.call(&[invite.room_id().as_str(), invite.event_id().as_str()], MAX_RESPONSE_BYTES);
    let response: Response = client.call_json(server, call.json(&request)?).await?;
    Ok(response.event)
}
