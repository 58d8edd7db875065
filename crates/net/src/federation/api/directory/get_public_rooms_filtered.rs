//! `POST /_matrix/federation/v1/publicRooms`
//! (<https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms>)

use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;
use serde::Serialize;

use super::MAX_PAGE_BYTES;
use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::post("/_matrix/federation/v1/publicRooms");

/// The body of the request.
#[derive(Debug, Serialize)]
pub struct Request<F> {
    /// Which rooms to return.
    pub filter: F,
    /// How many rooms to return at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Where the page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// Returns a page of the rooms in the directory that match a filter.
///
/// # Errors
/// See [`FederationError`].
pub async fn call<F: Serialize>(
    client: &FederationClient,
    server: &ServerName,
    request: &Request<F>,
) -> Result<Object, FederationError> {
    client.call_json(server, ENDPOINT.call(&[], MAX_PAGE_BYTES).repeatable().json(request)?).await
}
