//! `POST /_matrix/federation/v1/user/keys/query`
//! (<https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>)

use std::collections::BTreeMap;
use std::time::Duration;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};

use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::post("/_matrix/federation/v1/user/keys/query");
/// The largest response of one server, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The body of the request.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    /// The devices of each user whose keys are wanted: all of them if there are none.
    pub device_keys: BTreeMap<&'a UserId, Vec<String>>,
}

/// Keys by user id.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// By device id.
    #[serde(default)]
    pub device_keys: BTreeMap<String, BTreeMap<String, Object>>,
    /// The master keys.
    #[serde(default)]
    pub master_keys: BTreeMap<String, Object>,
    /// The self-signing keys.
    #[serde(default)]
    pub self_signing_keys: BTreeMap<String, Object>,
}

/// Returns the keys of users of `server`, which has `timeout` to respond.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    request: &Request<'_>,
    timeout: Duration,
) -> Result<Response, FederationError> {
    client.call_json(server, ENDPOINT.call(&[], MAX_RESPONSE_BYTES).repeatable().timeout(timeout).json(request)?).await
}
