//! Inviting a user of another server.

pub mod v1;
pub mod v2;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_protocol::rules::RoomVersion;
use serde::Deserialize;

use crate::federation::api::{MAX_STRIPPED_EVENTS, RawPdu, max_bytes_of_pdus};
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The largest response, in bytes: the invite may repeat the stripped state.
const MAX_RESPONSE_BYTES: usize = max_bytes_of_pdus(MAX_STRIPPED_EVENTS);

#[derive(Deserialize)]
struct Response {
    event: RawPdu,
}

/// Sends an invite with stripped state by the newest version of the endpoint that `server` knows and that can carry it.
/// Returns the invite with the signature of that server.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    invite: &Pdu,
    invite_room_state: &[RawPdu],
) -> Result<RawPdu, FederationError> {
    let fits_v1 = matches!(invite.room_version(), RoomVersion::V1 | RoomVersion::V2);
    match v2::call(client, server, invite, invite_room_state).await {
        Err(error) if fits_v1 && error.is_unknown_endpoint() => {
            v1::call(client, server, invite, invite_room_state).await
        }
        result => result,
    }
}
