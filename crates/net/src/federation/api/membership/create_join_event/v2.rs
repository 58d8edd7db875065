//! `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>)

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::{MAX_STATE_BYTES, STATE_TIMEOUT};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;
use crate::federation::response::StreamedResponse;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v2/send_join/{roomId}/{eventId}");

/// Sends a join. Returns the room's state, to be read piece by piece; if `omit_members`, only the member events that
/// matter to the join need be in it.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    join: &Pdu,
    omit_members: bool,
) -> Result<StreamedResponse, FederationError> {
    let call = ENDPOINT.call(&[join.room_id().as_str(), join.event_id().as_str()], MAX_STATE_BYTES);
    let call = call.query("omit_members", if omit_members { "true" } else { "false" });
    client.stream(server, call.body(join.json().to_owned()).timeout(STATE_TIMEOUT)).await
}
