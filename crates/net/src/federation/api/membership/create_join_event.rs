//! Joining a room through another server.

pub mod v1;
pub mod v2;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;

use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;
use crate::federation::response::StreamedResponse;

/// The response to a join, whose body is the room's state.
pub enum Response {
    /// In an array after a status.
    V1(StreamedResponse),
    /// An object.
    V2(StreamedResponse),
}

/// Sends a join by the newest version of the endpoint that `server` knows.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    join: &Pdu,
    omit_members: bool,
) -> Result<Response, FederationError> {
    match v2::call(client, server, join, omit_members).await {
        Err(error) if error.is_unknown_endpoint() => v1::call(client, server, join).await.map(Response::V1),
        result => result.map(Response::V2),
    }
}
