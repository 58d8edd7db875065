//! GET and POST /_synapse/admin/v1/register: registration with `registration_shared_secret`.

use std::sync::Arc;

use http::StatusCode;
use plexus_accounts::{
    NewAccount, NewSession, RegisterError, Registered, SharedSecret, SharedSecretError, SignedRegistration,
};
use plexus_http::room_errors::policy_refusal;
use plexus_http::{ApiError, ClientIp, Json, JsonBody, State};
use plexus_protocol::id::{ServerName, UserId};
use plexus_service::{Registration, RegistrationError};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
pub(crate) struct NonceResponse {
    nonce: String,
}

/// Returns a nonce, which is valid for one registration within a minute.
pub(crate) async fn nonce(State(shared): State<Arc<SharedSecret>>) -> Result<JsonBody<NonceResponse>, ApiError> {
    let nonce = shared.nonce().map_err(refused)?;
    Ok(JsonBody(NonceResponse { nonce }))
}

#[derive(Deserialize)]
pub(crate) struct Request {
    nonce: String,
    username: String,
    password: String,
    mac: String,
    #[serde(default)]
    admin: bool,
    user_type: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    displayname: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    user_id: UserId,
    home_server: ServerName,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
}

/// Registers the account the request describes and signs.
pub(crate) async fn register(
    ClientIp(ip): ClientIp,
    State(shared): State<Arc<SharedSecret>>,
    State(registration): State<Registration>,
    State(home_server): State<ServerName>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let signed = SignedRegistration {
        nonce: &request.nonce,
        username: &request.username,
        password: &request.password,
        is_admin: request.admin,
        user_type: request.user_type.as_deref(),
    };
    shared.check(signed, &request.mac, ip).map_err(refused)?;
    if !matches!(request.user_type.as_deref(), None | Some("bot" | "support")) {
        return Err(ApiError::unknown("Invalid user type"));
    }
    let session = (!request.inhibit_login).then_some(NewSession {
        device_id: request.device_id,
        initial_device_display_name: request.initial_device_display_name,
        refresh_token: false,
    });
    let account = NewAccount {
        username: Some(request.username),
        password: Some(request.password),
        display_name: request.displayname,
        is_admin: request.admin,
        user_type: request.user_type,
        guest: None,
        ui_auth_session: None,
        session,
        any_password: true,
        shadow_banned: false,
        app_service: None,
    };
    let registered = registration.register(account, None).await;
    let Registered { user_id, session } = registered.map_err(|error| match error {
        RegistrationError::Refused(refusal) => policy_refusal(refusal),
        RegistrationError::Account(error) => failed(error),
    })?;
    let (access_token, device_id) = session.map(|session| (session.tokens.access_token, session.device_id)).unzip();
    Ok(JsonBody(Response { user_id, home_server, access_token, device_id }))
}

fn refused(error: SharedSecretError) -> ApiError {
    let status = match error {
        SharedSecretError::Limited(refused) => return refused.into(),
        SharedSecretError::WrongMac => StatusCode::FORBIDDEN,
        SharedSecretError::Disabled | SharedSecretError::UnknownNonce | SharedSecretError::Unusable => {
            StatusCode::BAD_REQUEST
        }
    };
    ApiError::new(status, "M_UNKNOWN", error.to_string())
}

fn failed(error: RegisterError) -> ApiError {
    let bad_request = |errcode| ApiError::bad_request(errcode, error.to_string());
    match &error {
        RegisterError::Username(_) => bad_request("M_INVALID_USERNAME"),
        RegisterError::UserInUse => bad_request("M_USER_IN_USE"),
        RegisterError::Reserved | RegisterError::NoticesUser | RegisterError::NotItsUser => bad_request("M_EXCLUSIVE"),
        RegisterError::Password(_) => bad_request("M_WEAK_PASSWORD"),
        RegisterError::DisplayName(_) => bad_request("M_INVALID_PARAM"),
        RegisterError::Session(plexus_accounts::SessionError::InvalidDeviceId) => bad_request("M_INVALID_PARAM"),
        RegisterError::Session(plexus_accounts::SessionError::Database(error)) | RegisterError::Database(error) => {
            ApiError::internal(error)
        }
        RegisterError::SessionSpent | RegisterError::Hash(_) => ApiError::internal(&error),
    }
}
