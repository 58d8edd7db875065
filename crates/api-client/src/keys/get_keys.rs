//! POST /_matrix/client/v3/keys/query

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_e2ee::DeviceKeys;
use plexus_e2ee::RemoteDevices;
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, State};
use plexus_net::FederationError;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};

use plexus_service::{KeyFailures, key_failure, remote_key_timeout};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// How long to wait for other servers, in ms.
    timeout: Option<u64>,
    device_keys: Option<BTreeMap<UserId, Option<Vec<String>>>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    device_keys: BTreeMap<UserId, BTreeMap<String, Object>>,
    master_keys: BTreeMap<UserId, Object>,
    self_signing_keys: BTreeMap<UserId, Object>,
    user_signing_keys: BTreeMap<UserId, Object>,
    failures: KeyFailures,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(keys): State<DeviceKeys>,
    State(others): State<Arc<RemoteDevices>>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let Some(wanted) = request.device_keys else {
        return Err(ApiError::missing_param("Missing params: device_keys"));
    };
    let wanted: BTreeMap<UserId, Vec<String>> =
        wanted.into_iter().map(|(user_id, devices)| (user_id, devices.unwrap_or_default())).collect();
    let (local, remote) = wanted.into_iter().partition(|(user_id, _)| keys.is_local(user_id));
    let mut found = keys.query(requester.user_id.as_str(), local).await?;
    let queried = others.query(remote, remote_key_timeout(request.timeout)).await?;
    let failure = |(server, error): (ServerName, FederationError)| (server.to_string(), key_failure(&error));
    let failures = queried.failures.into_iter().map(failure).collect();
    found.device_keys.extend(queried.keys.device_keys);
    found.master_keys.extend(queried.keys.master_keys);
    found.self_signing_keys.extend(queried.keys.self_signing_keys);
    let found = keys.with_own_signatures(&requester.user_id, found).await?;
    Ok(JsonBody(Response {
        device_keys: found.device_keys,
        master_keys: found.master_keys,
        self_signing_keys: found.self_signing_keys,
        user_signing_keys: found.user_signing_keys,
        failures,
    }))
}
