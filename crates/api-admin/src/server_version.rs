//! GET /_synapse/admin/v1/server_version

use plexus_http::{JsonBody, SERVER_TOKEN};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    server_version: &'static str,
}

/// Returns the version of this server. Needs no authentication, as in Synapse.
pub(crate) async fn handle() -> JsonBody<Response> {
    JsonBody(Response { server_version: SERVER_TOKEN })
}
