//! Leaving a room through another server.

pub mod v1;
pub mod v2;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;

use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// Sends a leave by the newest version of the endpoint that `server` knows.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, leave: &Pdu) -> Result<(), FederationError> {
    match v2::call(client, server, leave).await {
        Err(error) if error.is_unknown_endpoint() => v1::call(client, server, leave).await,
        result => result,
    }
}
