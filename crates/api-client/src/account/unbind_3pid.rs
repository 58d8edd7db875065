//! POST /_matrix/client/v3/account/3pid/unbind

use plexus_http::{ApiError, Auth, Json, JsonBody};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(rename = "medium")]
    _medium: String,
    #[serde(rename = "address")]
    _address: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    id_server_unbind_result: &'static str,
}

/// Returns `no-support`: this server binds nothing at identity servers, so that it cannot unbind there; the client must
/// do it itself.
pub(crate) async fn handle(Auth(_): Auth, Json(_): Json<Request>) -> Result<JsonBody<Response>, ApiError> {
    Ok(JsonBody(Response { id_server_unbind_result: "no-support" }))
}
