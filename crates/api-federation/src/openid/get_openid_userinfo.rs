//! GET /_matrix/federation/v1/openid/userinfo

use http::StatusCode;
use plexus_accounts::Sessions;
use plexus_http::{ApiError, JsonBody, Query, State};
use plexus_protocol::id::UserId;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct Request {
    access_token: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    sub: UserId,
}

/// Returns the user who requested the token. Anybody who holds it may ask.
pub(crate) async fn handle(
    State(sessions): State<Sessions>,
    Query(request): Query<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let unauthorized = |errcode, message| ApiError::new(StatusCode::UNAUTHORIZED, errcode, message);
    let token = request.access_token.ok_or_else(|| unauthorized("M_MISSING_TOKEN", "Missing access_token in query"))?;
    let sub = sessions.openid_user(&token).await?;
    let sub = sub.ok_or_else(|| unauthorized("M_UNKNOWN_TOKEN", "Access Token unknown or expired"))?;
    Ok(JsonBody(Response { sub }))
}
