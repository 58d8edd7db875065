//! POST /_matrix/client/v3/keys/query

use std::collections::BTreeMap;

use plexus_accounts::DeviceKeys;
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::unreachable;

#[derive(Debug, Deserialize)]
pub struct Request {
    device_keys: Option<BTreeMap<UserId, Option<Vec<String>>>>,
}

#[derive(Debug, Serialize)]
pub struct Response {
    device_keys: BTreeMap<UserId, BTreeMap<String, Object>>,
    master_keys: BTreeMap<UserId, Object>,
    self_signing_keys: BTreeMap<UserId, Object>,
    user_signing_keys: BTreeMap<UserId, Object>,
    failures: BTreeMap<String, Value>,
}

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(keys): State<DeviceKeys>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let Some(wanted) = request.device_keys else {
        return Err(ApiError::missing_param("Missing params: device_keys"));
    };
    let wanted: BTreeMap<UserId, Vec<String>> =
        wanted.into_iter().map(|(user_id, devices)| (user_id, devices.unwrap_or_default())).collect();
    let failures = unreachable(wanted.keys().filter(|user_id| !keys.is_local(user_id)));
    let found = keys.query(requester.user_id.as_str(), wanted).await.map_err(|error| ApiError::internal(&error))?;
    Ok(JsonBody(Response {
        device_keys: found.device_keys,
        master_keys: found.master_keys,
        self_signing_keys: found.self_signing_keys,
        user_signing_keys: found.user_signing_keys,
        failures,
    }))
}
