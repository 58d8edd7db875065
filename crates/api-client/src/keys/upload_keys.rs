//! POST /_matrix/client/v3/keys/upload

use std::collections::BTreeMap;

use plexus_e2ee::DeviceKeys;
use plexus_e2ee::device_keys::{KeyUpload, UploadError};
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, State};
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};

use super::device_of;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    device_keys: Option<Object>,
    one_time_keys: Option<Object>,
    fallback_keys: Option<Object>,
    #[serde(rename = "org.matrix.msc2732.fallback_keys")]
    unstable_fallback_keys: Option<Object>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    one_time_key_counts: BTreeMap<String, u64>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(keys): State<DeviceKeys>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let device_id = device_of(&requester)?;
    let upload = KeyUpload {
        device_keys: request.device_keys,
        one_time_keys: request.one_time_keys.unwrap_or_default(),
        fallback_keys: request.fallback_keys.or(request.unstable_fallback_keys).unwrap_or_default(),
    };
    let mut counts = keys.upload(&requester.user_id, device_id, upload).await.map_err(upload_error)?;
    // Clients upload more keys when the count of this algorithm is low, also when it is absent.
    counts.entry("signed_curve25519".to_owned()).or_insert(0);
    Ok(JsonBody(Response { one_time_key_counts: counts }))
}

pub(crate) fn upload_error(error: UploadError) -> ApiError {
    match error {
        UploadError::DeviceKeys(_) | UploadError::KeyName(_) | UploadError::KeyValue(_) | UploadError::Conflict(_) => {
            ApiError::invalid_param(error.to_string())
        }
        UploadError::NotPortable(_) => ApiError::bad_json(error.to_string()),
        UploadError::TooLarge => ApiError::too_large(error.to_string()),
        UploadError::NoDevice => ApiError::unknown(error.to_string()),
        UploadError::Database(error) => error.into(),
    }
}
