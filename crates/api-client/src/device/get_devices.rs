//! GET /_matrix/client/v3/devices

use plexus_accounts::Devices;
use plexus_http::{ApiError, AuthGuest, JsonBody, State};
use serde::Serialize;

use super::Device;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    devices: Vec<Device>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(devices): State<Devices>,
) -> Result<JsonBody<Response>, ApiError> {
    let found = devices.list(&requester.user_id).await.map_err(|error| ApiError::internal(&error))?;
    Ok(JsonBody(Response { devices: found.into_iter().map(Device::from).collect() }))
}
