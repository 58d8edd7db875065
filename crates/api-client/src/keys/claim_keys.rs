//! POST /_matrix/client/v3/keys/claim

use std::collections::BTreeMap;

use plexus_accounts::DeviceKeys;
use plexus_accounts::keys::{Claimed, DeviceClaims};
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::unreachable;

#[derive(Debug, Deserialize)]
pub struct Request {
    one_time_keys: Option<DeviceClaims>,
}

#[derive(Debug, Serialize)]
pub struct Response {
    one_time_keys: Claimed,
    failures: BTreeMap<String, Value>,
}

pub async fn handle(
    AuthGuest(_): AuthGuest,
    State(keys): State<DeviceKeys>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let Some(claims) = request.one_time_keys else {
        return Err(ApiError::missing_param("Missing params: one_time_keys"));
    };
    let failures = unreachable(claims.keys().filter(|user_id| !keys.is_local(user_id)));
    let one_time_keys = keys.claim(claims).await.map_err(|error| ApiError::internal(&error))?;
    Ok(JsonBody(Response { one_time_keys, failures }))
}
