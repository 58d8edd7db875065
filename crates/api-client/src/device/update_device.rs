//! PUT /_matrix/client/v3/devices/{device_id}

use http::StatusCode;
use plexus_accounts::{Devices, RenameError};
use plexus_http::{ApiError, AuthGuest, Empty, JsonOrEmpty, Path, State};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    display_name: Option<String>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    Path(device_id): Path<String>,
    State(devices): State<Devices>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<(StatusCode, Empty), ApiError> {
    let user_id = &requester.user_id;
    let name = request.display_name.as_deref();
    if requester.manages_devices() {
        let created = devices.create_or_rename(user_id, &device_id, name).await.map_err(rename_error)?;
        return Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Empty));
    }
    let Some(name) = name else {
        let found = devices.get(user_id, &device_id).await.map_err(|error| ApiError::internal(&error))?;
        return found.map(|_| (StatusCode::OK, Empty)).ok_or_else(|| ApiError::not_found("No device found"));
    };
    devices.rename(user_id, &device_id, name).await.map_err(rename_error)?;
    Ok((StatusCode::OK, Empty))
}

fn rename_error(error: RenameError) -> ApiError {
    match error {
        RenameError::NotFound => ApiError::not_found("No device found"),
        RenameError::InvalidId => ApiError::invalid_param(error.to_string()),
        RenameError::TooLong => ApiError::bad_request("M_TOO_LARGE", error.to_string()),
        RenameError::Database(error) => error.into(),
    }
}
