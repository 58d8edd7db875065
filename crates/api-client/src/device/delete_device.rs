//! DELETE /_matrix/client/v3/devices/{device_id}

use plexus_accounts::{Devices, UserInteractiveAuth};
use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State};
use plexus_protocol::json::Object;

use crate::uiaa::{self, authorised};

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path(device_id): Path<String>,
    State(uia): State<UserInteractiveAuth>,
    State(devices): State<Devices>,
    JsonOrEmpty(body): JsonOrEmpty<Object>,
) -> Result<Empty, ApiError> {
    if device_id.contains('\0') {
        return Ok(Empty);
    }
    let operation = format!("DELETE /devices/{device_id}");
    let is_exempt = requester.manages_devices();
    let request = uiaa::Request { operation, requester: &requester, body, can_skip: true, is_exempt };
    authorised(&uia, request, async |_: Object| {
        devices.delete(&requester.user_id, vec![device_id]).await.map_err(|error| ApiError::internal(&error))?;
        Ok(Empty)
    })
    .await
}
