//! POST /_matrix/federation/v1/user/keys/claim

use plexus_e2ee::DeviceKeys;
use plexus_e2ee::device_keys::{Claimed, DeviceClaims};
use plexus_http::{ApiError, Json, JsonBody, State};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct Request {
    one_time_keys: DeviceClaims,
}

#[derive(Serialize)]
pub(crate) struct Response {
    one_time_keys: Claimed,
}

pub(crate) async fn handle(
    State(keys): State<DeviceKeys>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let one_time_keys = keys.claim(request.one_time_keys).await?;
    Ok(JsonBody(Response { one_time_keys }))
}
