//! GET /_matrix/federation/v1/user/devices/{userId}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_e2ee::DeviceKeys;
use plexus_http::{ApiError, JsonBody, Path, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    user_id: UserId,
    stream_id: i64,
    devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signing_key: Option<Object>,
}

#[derive(Serialize)]
struct Device {
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_display_name: Option<String>,
    keys: Object,
}

/// Returns every device of a user that has keys.
pub(crate) async fn handle(
    State(config): State<Arc<Config>>,
    State(keys): State<DeviceKeys>,
    Path(user_id): Path<UserId>,
) -> Result<JsonBody<Response>, ApiError> {
    let with_names = config.federation.allow_device_name_lookup_over_federation;
    let list = keys.device_list(&user_id, with_names).await?;
    let list = list.ok_or_else(|| ApiError::not_found(format!("No such user: {user_id}")))?;
    let device = |(device_id, mut keys): (String, Object)| {
        let name = keys.get_object("unsigned").and_then(|unsigned| unsigned.get_str("device_display_name"));
        let device_display_name = name.map(str::to_owned);
        keys.remove("unsigned");
        Device { device_id, device_display_name, keys }
    };
    Ok(JsonBody(Response {
        user_id,
        stream_id: list.stream_id,
        devices: list.devices.into_iter().map(device).collect(),
        master_key: list.master_key,
        self_signing_key: list.self_signing_key,
    }))
}
