//! GET /.well-known/matrix/policy_server

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_http::{ApiError, JsonBody, State};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    public_keys: PublicKeys,
}

/// In unpadded base64.
#[derive(Serialize)]
struct PublicKeys {
    ed25519: String,
}

/// Returns the key with which this server signs as a policy server; 404 if it is none.
pub(crate) async fn handle(State(receiver): State<Arc<PduReceiver>>) -> Result<JsonBody<Response>, ApiError> {
    let own = receiver.own_policy().ok_or_else(|| ApiError::not_found("This server is not a policy server"))?;
    Ok(JsonBody(Response { public_keys: PublicKeys { ed25519: own.public_key() } }))
}
