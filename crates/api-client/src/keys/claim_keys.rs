//! POST /_matrix/client/v3/keys/claim

use std::sync::Arc;

use plexus_e2ee::DeviceKeys;
use plexus_e2ee::device_keys::{Claimed, DeviceClaims};
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, State};
use plexus_net::FederationClient;
use serde::{Deserialize, Serialize};

use plexus_service::{KeyFailures, claim_remote_keys, remote_key_timeout};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// How long to wait for other servers, in ms.
    timeout: Option<u64>,
    one_time_keys: Option<DeviceClaims>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    one_time_keys: Claimed,
    failures: KeyFailures,
}

pub(crate) async fn handle(
    AuthGuest(_): AuthGuest,
    State(keys): State<DeviceKeys>,
    State(client): State<Arc<FederationClient>>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let Some(claims) = request.one_time_keys else {
        return Err(ApiError::missing_param("Missing params: one_time_keys"));
    };
    let (local, remote) = claims.into_iter().partition(|(user_id, _)| keys.is_local(user_id));
    let mut one_time_keys = keys.claim(local).await?;
    let failures = claim_remote_keys(&client, remote, remote_key_timeout(request.timeout), &mut one_time_keys).await;
    Ok(JsonBody(Response { one_time_keys, failures }))
}
