//! POST /_matrix/client/v3/delete_devices

use plexus_accounts::{Devices, UserInteractiveAuth};
use plexus_http::{ApiError, Auth, Empty, Json, State};
use plexus_protocol::json::Object;
use serde::Deserialize;

use crate::uiaa::{self, authorised};

#[derive(Debug, Deserialize)]
struct Params {
    devices: Vec<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(uia): State<UserInteractiveAuth>,
    State(devices): State<Devices>,
    Json(body): Json<Object>,
) -> Result<Empty, ApiError> {
    // An empty list needs authentication too: clients use it to find out the flows.
    let operation = "POST /delete_devices".to_owned();
    let is_exempt = requester.manages_devices();
    let request = uiaa::Request { operation, requester: &requester, body, can_skip: true, is_exempt };
    authorised(&uia, request, async |params: Params| {
        devices.delete(&requester.user_id, params.devices).await.map_err(|error| ApiError::internal(&error))?;
        Ok(Empty)
    })
    .await
}
