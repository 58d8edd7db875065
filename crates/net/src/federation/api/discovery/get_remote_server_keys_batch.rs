//! `POST /_matrix/key/v2/query`
//! (<https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query>)

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::call::Patience;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::post("/_matrix/key/v2/query");
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
/// How long a key server may take, which has to ask others.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns what `notary` knows of the keys of other servers, as JSON. Of each server, `keys` has ids of keys and until
/// when (Unix ms) they must at least be valid.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    notary: &ServerName,
    keys: &[(&ServerName, &HashMap<String, u64>)],
) -> Result<Bytes, FederationError> {
    let call = ENDPOINT.call(&[], MAX_RESPONSE_BYTES).repeatable().body(request(keys)).for_keys();
    client.call(notary, call.timeout(TIMEOUT).patience(Patience::Background)).await
}

fn request(keys: &[(&ServerName, &HashMap<String, u64>)]) -> String {
    let mut servers = Object::new();
    for (server, keys) in keys {
        let mut criteria = Object::new();
        for (key_id, valid_until_ms) in *keys {
            let valid_until_ms = i64::try_from(*valid_until_ms).unwrap_or(i64::MAX);
            criteria.insert(key_id.as_str(), Object::from([("minimum_valid_until_ts", valid_until_ms)]));
        }
        servers.insert(server.as_str(), criteria);
    }
    Object::from([("server_keys", servers)]).to_json()
}
