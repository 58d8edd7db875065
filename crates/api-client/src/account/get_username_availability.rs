//! GET /_matrix/client/v3/register/available

use std::sync::Arc;

use plexus_accounts::{RegisterError, Registrar, Settings};
use plexus_base::rate_limiter::network;
use plexus_http::{ApiError, ClientIp, JsonBody, Query, State};
use plexus_service::RateLimits;
use serde::{Deserialize, Serialize};

use super::register_error;

#[derive(Debug, Deserialize)]
pub(crate) struct NameQuery {
    username: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    available: bool,
}

pub(crate) async fn handle(
    ClientIp(ip): ClientIp,
    Query(query): Query<NameQuery>,
    State(settings): State<Arc<Settings>>,
    State(registrar): State<Registrar>,
    State(limits): State<Arc<RateLimits>>,
) -> Result<JsonBody<Response>, ApiError> {
    if !settings.registration.enable_registration {
        return Err(ApiError::forbidden("Registration has been disabled"));
    }
    limits.username_availability.check(&network(ip))?;
    match registrar.check_username(&query.username).await {
        Ok(_) => {}
        // A client that may not learn which names are taken gets the response that all are free.
        Err(RegisterError::UserInUse) if settings.registration.inhibit_user_in_use_error => {}
        Err(error) => return Err(register_error(error)),
    }
    Ok(JsonBody(Response { available: true }))
}
