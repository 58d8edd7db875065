//! `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid>)

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;

use crate::federation::api::MAX_EVENT_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v2/send_leave/{roomId}/{eventId}");

/// Sends a leave, or the refusal of an invite.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, leave: &Pdu) -> Result<(), FederationError> {
    let call = ENDPOINT.call(&[leave.room_id().as_str(), leave.event_id().as_str()], MAX_EVENT_BYTES);
    client.call(server, call.body(leave.json().to_owned())).await.map(drop)
}
