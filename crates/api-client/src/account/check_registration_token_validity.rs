//! GET /_matrix/client/v1/register/m.login.registration_token/validity

use std::sync::Arc;

use plexus_accounts::{Registrar, Settings, TokenQuestionError};
use plexus_http::{ApiError, ClientIp, JsonBody, Query, State};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(crate) struct TokenQuery {
    token: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    valid: bool,
}

pub(crate) async fn handle(
    ClientIp(ip): ClientIp,
    Query(query): Query<TokenQuery>,
    State(settings): State<Arc<Settings>>,
    State(registrar): State<Registrar>,
) -> Result<JsonBody<Response>, ApiError> {
    if !settings.registration.enable_registration {
        return Err(ApiError::forbidden("Registration has been disabled"));
    }
    match registrar.is_valid_registration_token(&query.token, ip).await {
        Ok(valid) => Ok(JsonBody(Response { valid })),
        Err(TokenQuestionError::Limited(refused)) => Err(refused.into()),
        Err(TokenQuestionError::Database(error)) => Err(error.into()),
    }
}
