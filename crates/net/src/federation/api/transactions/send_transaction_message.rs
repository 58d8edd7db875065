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

/// Why a transaction is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionUse {
    /// To deliver its content, with retries until it arrives.
    Delivery,
    /// Like [`Self::Delivery`], of an empty transaction: a 401 cannot be caused by its content, and the server is
    /// backed off.
    EmptyDelivery,
    /// To find out whether the server accepts it ([`Patience::Probe`]).
    Probe,
}

/// Sends a transaction. Returns the results of its PDUs.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    txn_id: &str,
    transaction: String,
    used_as: TransactionUse,
) -> Result<Box<RawValue>, FederationError> {
    let call = ENDPOINT.call(&[txn_id], MAX_RESPONSE_BYTES).body(transaction);
    let call = match used_as {
        TransactionUse::Delivery => call.patience(Patience::Persistent),
        TransactionUse::EmptyDelivery => call.patience(Patience::Persistent).unauthorized_is_outage(),
        TransactionUse::Probe => call.patience(Patience::Probe),
    };
    client.call_json(server, call).await
}
