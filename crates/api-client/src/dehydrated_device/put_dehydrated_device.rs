//! PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device

use std::sync::Arc;

use plexus_accounts::{DehydrationError, NewDehydratedDevice};
use plexus_base::config::Config;
use plexus_e2ee::device_keys::KeyUpload;
use plexus_http::{ApiError, Auth, Json, JsonBody, State};
use plexus_protocol::json::Object;
use plexus_service::DehydratedDevices;
use plexus_service::dehydrated_devices::DehydrateError;
use serde::Deserialize;

use super::{DeviceId, require_enabled};
use crate::keys::upload_keys::upload_error;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    device_id: Option<String>,
    device_data: Option<Object>,
    initial_device_display_name: Option<String>,
    device_keys: Option<Object>,
    #[serde(default)]
    one_time_keys: Option<Object>,
    #[serde(default)]
    fallback_keys: Option<Object>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(devices): State<DehydratedDevices>,
    Json(request): Json<Request>,
) -> Result<JsonBody<DeviceId>, ApiError> {
    require_enabled(&config)?;
    let missing = |field: &str| ApiError::missing_param(format!("{field} is missing"));
    let device_id = request.device_id.ok_or_else(|| missing("device_id"))?;
    let device_data = request.device_data.ok_or_else(|| missing("device_data"))?;
    if device_data.get("algorithm").is_none() {
        return Err(missing("device_data.algorithm"));
    }
    if device_data.get_str("algorithm").is_none() {
        return Err(ApiError::bad_json("device_data.algorithm must be a string"));
    }
    let device_keys = request.device_keys.ok_or_else(|| missing("device_keys"))?;
    let keys = KeyUpload {
        device_keys: Some(device_keys),
        one_time_keys: request.one_time_keys.unwrap_or_default(),
        fallback_keys: request.fallback_keys.unwrap_or_default(),
    };
    let new = NewDehydratedDevice {
        device_id: device_id.clone(),
        display_name: request.initial_device_display_name,
        device_data: device_data.to_json(),
    };
    devices.put(&requester.user_id, new, &keys).await.map_err(refusal)?;
    Ok(JsonBody(DeviceId { device_id }))
}

fn refusal(error: DehydrateError) -> ApiError {
    match error {
        DehydrateError::TooLarge => ApiError::too_large(error.to_string()),
        DehydrateError::Device(error @ (DehydrationError::DeviceId | DehydrationError::OrdinaryDevice)) => {
            ApiError::invalid_param(error.to_string())
        }
        DehydrateError::Keys(error) => upload_error(error),
        DehydrateError::Device(DehydrationError::Database(error)) | DehydrateError::Database(error) => error.into(),
    }
}
