//! `PUT /_matrix/federation/v1/send/{txnId}`
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>)

use plexus_protocol::id::ServerName;
use serde_json::value::RawValue;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::call::Patience;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::put("/_matrix/federation/v1/send/{txnId}");
/// The largest response, in bytes: one result for each of the 50 PDUs that a transaction may have.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Sends a transaction, with retries until it arrives. Returns the results of its PDUs. If the transaction `is_empty`,
/// a 401 cannot be caused by its content, and the server is backed off.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    txn_id: &str,
    transaction: String,
    is_empty: bool,
) -> Result<Box<RawValue>, FederationError> {
    let call = ENDPOINT.call(&[txn_id], MAX_RESPONSE_BYTES).body(transaction).patience(Patience::Persistent);
    client.call_json(server, if is_empty { call.unauthorized_is_outage() } else { call }).await
}
