//! `GET /_matrix/federation/v1/media/download/{mediaId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>)

use plexus_protocol::id::ServerName;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::api::media::Bounds;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;
use crate::federation::response::StreamedResponse;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/media/download/{mediaId}");
/// Returns media of `server` as `multipart/mixed`, to be read piece by piece.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    media_id: &str,
    bounds: Bounds,
) -> Result<StreamedResponse, FederationError> {
    let call = ENDPOINT.call(&[media_id], bounds.max_response_bytes);
    client
        .stream(
            server,
            call.query("timeout_ms", &bounds.upload_timeout.as_millis().to_string()).timeout(bounds.timeout()),
        )
        .await
}
