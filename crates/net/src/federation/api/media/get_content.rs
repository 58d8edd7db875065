//! `GET /_matrix/media/v3/download/{serverName}/{mediaId}`
//! of the client-server API: servers older than version 1.11 of the specification have nothing else.

use plexus_protocol::id::ServerName;

use super::Bounds;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;
use crate::federation::response::StreamedResponse;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/media/v3/download/{serverName}/{mediaId}");

/// Returns media of `server`, to be read piece by piece.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    media_id: &str,
    bounds: Bounds,
) -> Result<StreamedResponse, FederationError> {
    let call = ENDPOINT.call(&[server.as_str(), media_id], bounds.max_response_bytes).query("allow_remote", "false");
    let call = call.query("timeout_ms", &bounds.upload_timeout.as_millis().to_string());
    client.stream(server, call.timeout(bounds.timeout())).await
}
