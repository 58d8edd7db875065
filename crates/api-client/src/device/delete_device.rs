//! DELETE /_matrix/client/v3/devices/{device_id}

use std::sync::Arc;

use plexus_accounts::{Devices, UserInteractiveAuth};
use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::json::Object;

use crate::rate_limits::RateLimits;
use crate::uiaa::{self, authenticate};

pub async fn handle(
    Auth(requester): Auth,
    Path(device_id): Path<String>,
    State(uia): State<UserInteractiveAuth>,
    State(devices): State<Devices>,
    State(limits): State<Arc<RateLimits>>,
    JsonOrEmpty(body): JsonOrEmpty<Object>,
) -> Result<Empty, ApiError> {
    if device_id.contains('\0') {
        return Ok(Empty);
    }
    let operation = format!("DELETE /devices/{device_id}");
    let request = uiaa::Request { operation, requester: &requester, body, can_skip: true };
    let _: Object = authenticate(&uia, &limits, request).await?;
    devices.delete(&requester.user_id, vec![device_id]).await.map_err(|error| ApiError::internal(&error))?;
    Ok(Empty)
}
