//! `PUT /_matrix/federation/v1/invite/{roomId}/{eventId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid>)

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;

use super::{MAX_RESPONSE_BYTES, Response};
use crate::federation::api::RawPdu;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v1/invite/{roomId}/{eventId}");

/// Sends an invite of a room of version 1 or 2 to a server that does not know version 2 of the endpoint. Returns the
/// invite with the signature of that server.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    invite: &Pdu,
    invite_room_state: &[RawPdu],
) -> Result<RawPdu, FederationError> {
    let call = ENDPOINT.call(&[invite.room_id().as_str(), invite.event_id().as_str()], MAX_RESPONSE_BYTES);
    let call = call.body(request(invite, invite_room_state)?);
    let (_, response): (u16, Response) = client.call_json(server, call).await?;
    Ok(response.event)
}

/// The event, with the stripped state in `unsigned`.
fn request(invite: &Pdu, invite_room_state: &[RawPdu]) -> Result<String, FederationError> {
    let unsigned = serde_json::json!({ "invite_room_state": invite_room_state }).to_string();
    let unsigned = Object::parse(&unsigned).map_err(|error| FederationError::MalformedRequest(error.to_string()))?;
    Ok(invite.with_unsigned(Some(unsigned)).json().to_owned())
}
