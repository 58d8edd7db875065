//! `GET /_matrix/federation/v1/publicRooms`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms>)

use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;

use super::MAX_PAGE_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/publicRooms");

/// Returns a page of the room directory: at most `limit` rooms, from `since` on.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    limit: Option<u64>,
    since: Option<&str>,
) -> Result<Object, FederationError> {
    let mut call = ENDPOINT.call(&[], MAX_PAGE_BYTES);
    if let Some(limit) = limit {
        call = call.query("limit", &limit.to_string());
    }
    if let Some(since) = since {
        call = call.query("since", since);
    }
    client.call_json(server, call).await
}
