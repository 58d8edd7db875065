//! GET /_synapse/client/v1/config/federation_whitelist

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, JsonBody, State};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    whitelist_enabled: bool,
    whitelist: Vec<String>,
}

/// Returns the servers that this one communicates with. Served with `federation_whitelist_endpoint_enabled`, as in
/// Synapse.
pub(crate) async fn handle(Auth(_): Auth, State(config): State<Arc<Config>>) -> Result<JsonBody<Response>, ApiError> {
    if !config.federation.federation_whitelist_endpoint_enabled {
        return Err(ApiError::unrecognized());
    }
    let whitelist = &config.federation.federation_domain_whitelist;
    let response =
        Response { whitelist_enabled: whitelist.is_some(), whitelist: whitelist.clone().unwrap_or_default() };
    Ok(JsonBody(response))
}
