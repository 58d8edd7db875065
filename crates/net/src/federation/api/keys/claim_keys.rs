//! `POST /_matrix/federation/v1/user/keys/claim`
//! (<https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim>)

use std::collections::BTreeMap;
use std::time::Duration;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};

use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::post("/_matrix/federation/v1/user/keys/claim");
/// The largest response of one server, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The body of the request.
#[derive(Debug, Serialize)]
pub struct Request<'a, D> {
    /// By user, the devices and the algorithm of the key that is wanted of each.
    pub one_time_keys: &'a BTreeMap<UserId, D>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    one_time_keys: BTreeMap<String, BTreeMap<String, Object>>,
}

/// Claims one-time keys of users of `server`, which has `timeout` to respond. Returns them by user id and device id.
///
/// # Errors
/// See [`FederationError`].
pub async fn call<D: Serialize>(
    client: &FederationClient,
    server: &ServerName,
    request: &Request<'_, D>,
    timeout: Duration,
) -> Result<BTreeMap<String, BTreeMap<String, Object>>, FederationError> {
    let call = ENDPOINT.call(&[], MAX_RESPONSE_BYTES).timeout(timeout).json(request)?;
    let response: Response = client.call_json(server, call).await?;
    Ok(response.one_time_keys)
}
