//! GET /_matrix/client/v3/devices/{device_id}

use plexus_accounts::Devices;
use plexus_http::{ApiError, AuthGuest, JsonBody, Path, State};

use super::Device;

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    Path(device_id): Path<String>,
    State(devices): State<Devices>,
) -> Result<JsonBody<Device>, ApiError> {
    let found = devices.get(&requester.user_id, &device_id).await.map_err(|error| ApiError::internal(&error))?;
    found.map(|device| JsonBody(device.into())).ok_or_else(|| ApiError::not_found("No device found"))
}
