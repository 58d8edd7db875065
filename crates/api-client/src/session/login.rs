//! POST /_matrix/client/v3/login

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use plexus_accounts::{Identifier, LoginError, Logins, NewSession, Settings};
use plexus_base::AppService;
use plexus_base::config::Config;
use plexus_http::room_errors::policy_refusal;
use plexus_http::{ApiError, AppServiceToken, Json, JsonBody, RequestInfo, State};
use plexus_protocol::id::UserId;
use plexus_service::{LoginSessionError, LoginSessions, RateLimits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::appservice::APP_SERVICE;
use crate::issued_tokens::{TokenFields, session_error};
use crate::rate_limited::{self, WithinLimit};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    r#type: Option<String>,
    identifier: Option<IdentifierFields>,
    /// Deprecated form of an identifier of type m.id.user.
    user: Option<String>,
    /// Deprecated form of an identifier of type m.id.thirdparty.
    medium: Option<String>,
    address: Option<String>,
    password: Option<String>,
    token: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: bool,
}

#[derive(Debug, Deserialize)]
struct IdentifierFields {
    r#type: String,
    user: Option<String>,
    medium: Option<String>,
    address: Option<String>,
    country: Option<String>,
    phone: Option<String>,
    number: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    user_id: UserId,
    device_id: String,
    /// Deprecated, but some clients still read it.
    home_server: String,
    #[serde(flatten)]
    tokens: TokenFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    well_known: Option<Value>,
}

#[expect(clippy::too_many_arguments, reason = "a handler's parameters are its powers")]
pub(crate) async fn handle(
    WithinLimit { address: ip, .. }: WithinLimit<rate_limited::Login>,
    State(config): State<Arc<Config>>,
    State(settings): State<Arc<Settings>>,
    State(logins): State<Logins>,
    State(sessions): State<LoginSessions>,
    State(limits): State<Arc<RateLimits>>,
    RequestInfo(client): RequestInfo,
    app_service: AppServiceToken,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let mut is_limited = true;
    let user_id = match request.r#type.as_deref() {
        Some("m.login.password") if settings.password.for_login => by_password(&logins, &limits, ip, &request).await?,
        Some("m.login.token") if settings.login_via_existing_session.enabled => {
            limits.login_address.check(&ip)?;
            let token = request.token.as_deref().ok_or_else(|| missing("token"))?;
            logins.by_token(token).await.map_err(login_error)?
        }
        Some(APP_SERVICE) => {
            let service = app_service.require()?;
            if service.msc4190 {
                let message = "This application service manages its devices; it does not log in";
                return Err(ApiError::bad_request("M_APPSERVICE_LOGIN_UNSUPPORTED", message));
            }
            let user_id = by_app_service(&logins, &service, &request).await?;
            is_limited = service.is_limited_as(user_id.as_str());
            user_id
        }
        Some(other) => return Err(ApiError::unknown(format!("Unknown login type {other}"))),
        None => return Err(missing("type")),
    };
    if is_limited {
        limits.login_account.check(user_id.as_str().to_lowercase().as_str())?;
    }
    let session = NewSession {
        device_id: request.device_id,
        initial_device_display_name: request.initial_device_display_name,
        refresh_token: request.refresh_token,
    };
    let session = sessions.start(&user_id, session, &client).await.map_err(|error| match error {
        LoginSessionError::Refused(refusal) => policy_refusal(refusal),
        LoginSessionError::Session(error) => session_error(error),
    })?;
    let base_url = config.server.public_baseurl.as_ref();
    Ok(JsonBody(Response {
        home_server: user_id.server_name().to_owned(),
        user_id,
        device_id: session.device_id,
        tokens: session.tokens.into(),
        well_known: base_url.map(|url| json!({ "m.homeserver": { "base_url": url } })),
    }))
}

async fn by_password(logins: &Logins, limits: &RateLimits, ip: IpAddr, request: &Request) -> Result<UserId, ApiError> {
    let who = named(request)?;
    let password = request.password.as_deref().ok_or_else(|| missing("password"))?;
    limits.login_address.check(&ip)?;
    logins.by_password(&who, password).await.map_err(login_error)
}

async fn by_app_service(logins: &Logins, service: &AppService, request: &Request) -> Result<UserId, ApiError> {
    match named(request)? {
        Identifier::User(user) => logins.by_app_service(service, &user).await.map_err(login_error),
        Identifier::ThirdParty { .. } => Err(ApiError::unknown("Unknown login identifier type")),
    }
}

fn named(request: &Request) -> Result<Identifier, ApiError> {
    let Some(identifier) = &request.identifier else {
        return match (&request.user, &request.medium, &request.address) {
            (Some(user), _, _) => Ok(Identifier::User(user.clone())),
            (None, Some(medium), Some(address)) => Ok(third_party(medium, address)),
            _ => Err(missing("identifier")),
        };
    };
    match identifier.r#type.as_str() {
        "m.id.user" => Ok(Identifier::User(identifier.user.clone().ok_or_else(|| missing("identifier.user"))?)),
        "m.id.thirdparty" => {
            let medium = identifier.medium.as_deref().ok_or_else(|| missing("identifier.medium"))?;
            let address = identifier.address.as_deref().ok_or_else(|| missing("identifier.address"))?;
            Ok(third_party(medium, address))
        }
        "m.id.phone" => {
            identifier.country.as_deref().ok_or_else(|| missing("identifier.country"))?;
            let phone = identifier.phone.as_deref().or(identifier.number.as_deref());
            Ok(third_party("msisdn", phone.ok_or_else(|| missing("identifier.phone"))?))
        }
        other => Err(ApiError::unknown(format!("Unknown login identifier type {other}"))),
    }
}

fn third_party(medium: &str, address: &str) -> Identifier {
    let address = match medium {
        "email" => address.to_lowercase(),
        "msisdn" => address.chars().filter(char::is_ascii_digit).collect(),
        _ => address.to_owned(),
    };
    Identifier::ThirdParty { medium: medium.to_owned(), address }
}

fn missing(field: &str) -> ApiError {
    ApiError::missing_param(format!("Missing params: {field}"))
}

pub(crate) fn login_error(error: LoginError) -> ApiError {
    match error {
        LoginError::WrongPassword => ApiError::forbidden("Invalid username or password"),
        LoginError::NotItsUser => ApiError::forbidden(error.to_string()),
        LoginError::WrongToken => ApiError::forbidden("Invalid login token"),
        LoginError::Deactivated => {
            ApiError::new(StatusCode::FORBIDDEN, "M_USER_DEACTIVATED", "This account has been deactivated")
        }
        LoginError::Locked => ApiError::new(StatusCode::UNAUTHORIZED, "M_USER_LOCKED", "This account has been locked")
            .with("soft_logout", true),
        LoginError::Limited(refused) => refused.into(),
        LoginError::Hash(_) => ApiError::internal(&error),
        LoginError::Database(error) => error.into(),
    }
}
