//! POST /_matrix/client/v3/user/{user_id}/openid/request_token

use plexus_accounts::Sessions;
use plexus_http::{ApiError, Auth, JsonBody, Path, State};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    access_token: String,
    token_type: &'static str,
    matrix_server_name: String,
    /// Seconds.
    expires_in: u64,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    Path(user_id): Path<String>,
    State(sessions): State<Sessions>,
) -> Result<JsonBody<Response>, ApiError> {
    if requester.user_id != user_id.as_str() {
        return Err(ApiError::forbidden("Cannot request tokens for other users."));
    }
    let (access_token, lifetime) =
        sessions.issue_openid_token(&requester.user_id).await.map_err(|error| ApiError::internal(&error))?;
    Ok(JsonBody(Response {
        access_token,
        token_type: "Bearer",
        matrix_server_name: requester.user_id.server_name().to_owned(),
        expires_in: lifetime.as_secs(),
    }))
}
