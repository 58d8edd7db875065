//! GET /_matrix/client/v3/admin/whois/{userId}

use std::collections::BTreeMap;

use plexus_accounts::Devices;
use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use plexus_protocol::id::UserId;
use plexus_store::Database;
use plexus_store::repo::devices::Device;
use plexus_store::repo::users;
use serde::Serialize;

use super::not_found;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    user_id: UserId,
    devices: BTreeMap<String, DeviceInfo>,
}

#[derive(Debug, Serialize)]
struct DeviceInfo {
    sessions: [SessionInfo; 1],
}

#[derive(Debug, Serialize)]
struct SessionInfo {
    connections: Vec<Connection>,
}

/// The last use of a device.
#[derive(Debug, Serialize)]
struct Connection {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// Unix ms.
    last_seen: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

/// Returns the devices of a user with their last uses: the requester's own, or, for administrators, of any local user.
pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(devices): State<Devices>,
    Path(user_id): Path<UserId>,
) -> Result<JsonBody<Response>, ApiError> {
    if requester.user_id != user_id {
        if !requester.is_admin {
            return Err(ApiError::forbidden("You are not a server admin"));
        }
        if user_id.server_name() != requester.user_id.server_name() {
            return Err(ApiError::invalid_param("Can only whois a local user"));
        }
        let id = user_id.clone();
        db.read(move |tx| users::get(tx, id.as_str())).await?.ok_or_else(not_found)?;
    }
    let devices = devices.list(&user_id).await?;
    let devices = devices.into_iter().map(|device| (device.device_id.clone(), DeviceInfo::from(device))).collect();
    Ok(JsonBody(Response { user_id, devices }))
}

impl From<Device> for DeviceInfo {
    fn from(device: Device) -> Self {
        let (ip, user_agent) = (device.last_seen_ip, device.last_seen_user_agent);
        let connections = device.last_seen_ts.map(|last_seen| Connection { ip, last_seen, user_agent });
        Self { sessions: [SessionInfo { connections: connections.into_iter().collect() }] }
    }
}
