//! POST /_matrix/client/v3/refresh

use plexus_accounts::{RefreshError, Sessions};
use plexus_http::{ApiError, Json, JsonBody, State};
use serde::Deserialize;

use crate::issued_tokens::TokenFields;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    refresh_token: Option<String>,
}

pub(crate) async fn handle(
    State(sessions): State<Sessions>,
    Json(request): Json<Request>,
) -> Result<JsonBody<TokenFields>, ApiError> {
    let Some(token) = request.refresh_token else {
        return Err(ApiError::missing_param("Missing params: refresh_token"));
    };
    let tokens = sessions.refresh(&token).await.map_err(|error| match error {
        RefreshError::Unknown => ApiError::unknown_token(false),
        RefreshError::Expired => ApiError::unknown_token(true),
        RefreshError::Database(error) => error.into(),
    })?;
    Ok(JsonBody(tokens.into()))
}
