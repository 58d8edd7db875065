//! POST /_matrix/client/v3/account/3pid/email/requestToken

use std::sync::Arc;

use http::StatusCode;
use plexus_base::config::Config;
use plexus_http::{ApiError, Json, JsonBody, State};
use plexus_mail::{EmailAddress, NotQueued};
use plexus_protocol::json::Object;
use plexus_service::{EmailValidation, RateLimits, ValidationRequest, ValidationRequestError, is_opaque_id};
use serde::{Deserialize, Serialize};

use super::request_token::{self, permits_email, without_email};
use crate::rate_limited::{ThreepidValidation, WithinLimit};
use crate::uiaa::parse;

#[derive(Debug, Deserialize)]
struct Request {
    client_secret: String,
    email: String,
    send_attempt: u64,
    next_link: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    sid: String,
}

pub(crate) async fn handle(
    limit: WithinLimit<ThreepidValidation>,
    State(config): State<Arc<Config>>,
    State(limits): State<Arc<RateLimits>>,
    State(validation): State<Option<Arc<EmailValidation>>>,
    Json(body): Json<Object>,
) -> Result<JsonBody<Response>, ApiError> {
    let Some(validation) = validation else { return Err(without_email(&body)) };
    let Request { client_secret, email, send_attempt, next_link } = parse(&body)?;
    if !config.registration.enable_3pid_changes {
        return Err(ApiError::forbidden("3PID changes are disabled on this server"));
    }
    if !is_opaque_id(&client_secret) {
        return Err(ApiError::invalid_param("client_secret has up to 255 letters, digits and characters of .=_-~"));
    }
    if i64::try_from(send_attempt).is_err() {
        return Err(ApiError::invalid_param("send_attempt is too large"));
    }
    let address = EmailAddress::try_from(email.as_str()).map_err(|error| ApiError::invalid_param(error.to_string()))?;
    if !permits_email(config.registration.allowed_local_3pids.as_deref(), address.as_str()) {
        let message = "Your email domain is not authorized on this server";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", message));
    }
    let domains = config.blocking.next_link_domain_whitelist.as_deref();
    let next_link = next_link.map(|url| request_token::next_link(&url, domains)).transpose()?;
    limits.threepid_validation_address.check(&limit.address)?;
    limits.threepid_validation.check(address.as_str())?;
    let request = ValidationRequest { address, client_secret, send_attempt, next_link };
    let sid = validation.request(request).await.map_err(|error| match error {
        ValidationRequestError::InUse => ApiError::bad_request("M_THREEPID_IN_USE", error.to_string()),
        ValidationRequestError::Mail(error) => ApiError::internal(&error),
        ValidationRequestError::Queue(NotQueued::Full) => {
            let message = "This server cannot send mail at the moment. Try again later.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", message)
        }
        ValidationRequestError::Queue(NotQueued::Database(error)) => error.into(),
        ValidationRequestError::Database(error) => error.into(),
    })?;
    Ok(JsonBody(Response { sid }))
}
