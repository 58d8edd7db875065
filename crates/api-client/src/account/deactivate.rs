//! POST /_matrix/client/v3/account/deactivate

use plexus_accounts::UserInteractiveAuth;
use plexus_http::room_errors::policy_refusal;
use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, State};
use plexus_protocol::json::Object;
use plexus_service::{DeactivationError, UserDeactivation};
use serde::{Deserialize, Serialize};

use crate::uiaa::{self, authorised};

#[derive(Debug, Deserialize)]
struct Params {
    #[serde(default)]
    erase: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    id_server_unbind_result: &'static str,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(uia): State<UserInteractiveAuth>,
    State(deactivation): State<UserDeactivation>,
    JsonOrEmpty(body): JsonOrEmpty<Object>,
) -> Result<JsonBody<Response>, ApiError> {
    let operation = "POST /account/deactivate".to_owned();
    let is_exempt = requester.acting_service.is_some();
    let request = uiaa::Request { operation, requester: &requester, body, can_skip: false, is_exempt };
    authorised(&uia, request, async |params: Params| {
        let deactivated = deactivation.deactivate_own(&requester.user_id, params.erase).await;
        deactivated.map_err(|error| match error {
            DeactivationError::Refused(refusal) => policy_refusal(refusal),
            DeactivationError::Db(error) => ApiError::internal(&error),
        })
    })
    .await?;
    // Nothing was ever bound at an identity server.
    Ok(JsonBody(Response { id_server_unbind_result: "success" }))
}
