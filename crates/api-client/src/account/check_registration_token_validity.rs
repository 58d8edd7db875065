//! GET /_matrix/client/v1/register/m.login.registration_token/validity

use std::sync::Arc;

use plexus_accounts::{Registrar, Settings};
use plexus_http::{ApiError, ClientIp, JsonBody, Query, State};
use serde::{Deserialize, Serialize};

use super::address;
use crate::rate_limits::RateLimits;

#[derive(Debug, Deserialize)]
pub struct TokenQuery {
    token: String,
}

#[derive(Debug, Serialize)]
pub struct Response {
    valid: bool,
}

pub async fn handle(
    ClientIp(ip): ClientIp,
    Query(query): Query<TokenQuery>,
    State(settings): State<Arc<Settings>>,
    State(registrar): State<Registrar>,
    State(limits): State<Arc<RateLimits>>,
) -> Result<JsonBody<Response>, ApiError> {
    limits.registration_token_validity.check(&address(ip))?;
    if !settings.registration.enable_registration {
        return Err(ApiError::forbidden("Registration has been disabled"));
    }
    let valid =
        registrar.is_valid_registration_token(&query.token).await.map_err(|error| ApiError::internal(&error))?;
    Ok(JsonBody(Response { valid }))
}
