//! `GET /_matrix/federation/v1/query/directory`
//! (<https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory>)

use plexus_protocol::id::{RoomAlias, RoomId, ServerName};
use serde::Deserialize;

use crate::federation::api::endpoint::Endpoint;
use crate::federation::client::FederationClient;
use crate::federation::error::FederationError;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint::get("/_matrix/federation/v1/query/directory");
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The room that an alias points to.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// Its id.
    pub room_id: RoomId,
    /// Servers that may be in it.
    pub servers: Vec<ServerName>,
}

/// Resolves an alias of `server`.
///
/// # Errors
/// See [`FederationError`].
pub async fn call(
    client: &FederationClient,
    server: &ServerName,
    alias: &RoomAlias,
) -> Result<Response, FederationError> {
    client.call_json(server, ENDPOINT.call(&[], MAX_RESPONSE_BYTES).query("room_alias", alias.as_str())).await
}
