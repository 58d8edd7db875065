//! POST /_matrix/client/v1/login/get_token

use std::sync::Arc;

use plexus_accounts::{Sessions, Settings, UserInteractiveAuth};
use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, State};
use plexus_protocol::json::Object;
use plexus_service::{RateLimits, check_limit};
use serde::Serialize;

use crate::uiaa::{self, authorised};

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    login_token: String,
    expires_in_ms: u64,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(settings): State<Arc<Settings>>,
    State(uia): State<UserInteractiveAuth>,
    State(sessions): State<Sessions>,
    State(limits): State<Arc<RateLimits>>,
    JsonOrEmpty(body): JsonOrEmpty<Object>,
) -> Result<JsonBody<Response>, ApiError> {
    if !settings.login_via_existing_session.enabled {
        return Err(ApiError::unrecognized());
    }
    let issue = async |_: Object| {
        check_limit(&limits.login_token, &requester)?;
        let (login_token, timeout) =
            sessions.issue_login_token(&requester.user_id).await.map_err(|error| ApiError::internal(&error))?;
        Ok(JsonBody(Response { login_token, expires_in_ms: timeout.as_millis() as u64 }))
    };
    if !settings.login_via_existing_session.require_ui_auth {
        return issue(body).await;
    }
    let operation = "POST /login/get_token".to_owned();
    let request = uiaa::Request { operation, requester: &requester, body, can_skip: false, is_exempt: false };
    authorised(&uia, request, issue).await
}
