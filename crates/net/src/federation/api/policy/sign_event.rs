//! `POST /_matrix/policy/v1/sign`
//! (<https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign>)

use std::time::Duration;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;

use crate::federation::api::MAX_SHORT_RESPONSE_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::post("/_matrix/policy/v1/sign");
/// How long a policy server may take: users wait for it whenever they send.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks a policy server to recommend an event. Returns its signatures by server and key id.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(client: &FederationClient, server: &ServerName, pdu: &Pdu) -> Result<Object, FederationError> {
    let call = ENDPOINT.call(&[], MAX_SHORT_RESPONSE_BYTES).repeatable().body(pdu.json().to_owned());
    client.call_json(server, call.timeout(TIMEOUT)).await
}
