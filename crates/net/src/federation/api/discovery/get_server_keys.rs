//! `GET /_matrix/key/v2/server`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>)

use std::time::Duration;

use bytes::Bytes;
use plexus_protocol::id::ServerName;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::call::Patience;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/key/v2/server");
const MAX_RESPONSE_BYTES: usize = 128 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the signing keys of `server`, as JSON that it has signed.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    patience: Patience,
) -> Result<Bytes, FederationError> {
    let call = ENDPOINT.call(&[], MAX_RESPONSE_BYTES).for_keys();
    client.call(server, call.timeout(TIMEOUT).patience(patience)).await
}
