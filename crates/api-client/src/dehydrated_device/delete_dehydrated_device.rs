//! DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, JsonBody, State};
use plexus_service::DehydratedDevices;

use super::{DeviceId, none_there, require_enabled};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(devices): State<DehydratedDevices>,
) -> Result<JsonBody<DeviceId>, ApiError> {
    require_enabled(&config)?;
    let device_id = devices.delete(&requester.user_id).await?.ok_or_else(none_there)?;
    Ok(JsonBody(DeviceId { device_id }))
}
