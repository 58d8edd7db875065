//! POST /_matrix/federation/v1/user/keys/query

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::config::Config;
use plexus_e2ee::DeviceKeys;
use plexus_http::{ApiError, Json, JsonBody, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct Request {
    device_keys: BTreeMap<UserId, Option<Vec<String>>>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    device_keys: BTreeMap<UserId, BTreeMap<String, Object>>,
    master_keys: BTreeMap<UserId, Object>,
    self_signing_keys: BTreeMap<UserId, Object>,
}

pub(crate) async fn handle(
    State(config): State<Arc<Config>>,
    State(keys): State<DeviceKeys>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let wanted = request.device_keys.into_iter().map(|(user_id, devices)| (user_id, devices.unwrap_or_default()));
    let with_names = config.federation.allow_device_name_lookup_over_federation;
    let found = keys.query_for_server(wanted.collect(), with_names).await?;
    Ok(JsonBody(Response {
        device_keys: found.device_keys,
        master_keys: found.master_keys,
        self_signing_keys: found.self_signing_keys,
    }))
}
