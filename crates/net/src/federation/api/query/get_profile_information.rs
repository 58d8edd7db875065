//! `GET /_matrix/federation/v1/query/profile`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile>)

use std::time::Duration;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::call::Patience;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/query/profile");
/// The largest response, in bytes: a little more than a profile may have.
const MAX_RESPONSE_BYTES: usize = 128 * 1024;

/// Returns the profile of a user of `server`, or one field of it.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    user: &UserId,
    field: Option<&str>,
) -> Result<Object, FederationError> {
    let call = ENDPOINT.call(&[], MAX_RESPONSE_BYTES).query("user_id", user.as_str());
    let call = match field {
        Some(field) => call.query("field", field),
        None => call,
    };
    client.call_json(server, call).await
}

/// Returns the profile of a user of `server`, which has `timeout` to respond. Nobody waits for it: a server that is
/// backed off is not asked.
///
/// # Errors
/// See [`FederationError`].
pub async fn call_in_background(
    client: &FederationClient,
    server: &ServerName,
    user: &UserId,
    timeout: Duration,
) -> Result<Object, FederationError> {
    let call = ENDPOINT.call(&[], MAX_RESPONSE_BYTES).query("user_id", user.as_str());
    client.call_json(server, call.timeout(timeout).patience(Patience::Background)).await
}
