//! GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, RawJson, State};
use plexus_protocol::json::ObjectWriter;
use plexus_service::DehydratedDevices;

use super::{none_there, require_enabled};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(devices): State<DehydratedDevices>,
) -> Result<RawJson, ApiError> {
    require_enabled(&config)?;
    let device = devices.get(&requester.user_id).await?.ok_or_else(none_there)?;
    let mut body = String::with_capacity(device.device_data.len() + 128);
    let mut object = ObjectWriter::open(&mut body);
    object.raw("device_data", &device.device_data);
    object.string("device_id", &device.device_id);
    object.close();
    Ok(RawJson(body.into()))
}
