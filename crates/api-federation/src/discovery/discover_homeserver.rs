//! GET /.well-known/matrix/server

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, State};
use plexus_protocol::id::ServerName;
use serde_json::{Value, json};

/// With `serve_server_wellknown`, sends other servers to port 443 of this server's name: a server that could make this
/// request reaches it there. 404 otherwise.
pub(crate) async fn handle(
    State(config): State<Arc<Config>>,
    State(server_name): State<ServerName>,
) -> Result<JsonBody<Value>, ApiError> {
    if !config.server.serve_server_wellknown {
        return Err(ApiError::not_found(".well-known not available"));
    }
    let (host, port) = server_name.host_port();
    Ok(JsonBody(json!({ "m.server": format!("{host}:{}", port.unwrap_or(443)) })))
}
