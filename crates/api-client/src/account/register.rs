//! POST /_matrix/client/v3/register

use std::net::IpAddr;
use std::sync::Arc;

use plexus_accounts::uia::{DUMMY, Flow, REGISTRATION_TOKEN};
use plexus_accounts::{
    Identifier, Logins, NewAccount, NewSession, RegisterError, Registered, Registrar, Seen, Sessions, Settings,
    TokenChecker, UserInteractiveAuth,
};
use plexus_base::LimitExceeded;
use plexus_http::auth::token_error;
use plexus_http::room_errors::policy_refusal;
use plexus_http::{ApiError, AppServiceToken, JsonBody, JsonOrEmpty, Query, RequestInfo, State};
use plexus_net::policy_hooks::ClientInfo;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_service::{RateLimits, Registration, RegistrationError};
use serde::{Deserialize, Serialize};

use super::{register_error, weak_password};
use crate::appservice::APP_SERVICE;
use crate::issued_tokens::{TokenFields, session_error};
use crate::rate_limited::{self, WithinLimit};
use crate::session::login::login_error;
use crate::uiaa::{authenticate_registration, parse, take_auth, uia_error};

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    User,
    Guest,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KindQuery {
    #[serde(default)]
    kind: Kind,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Params {
    username: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    inhibit_login: bool,
    refresh_token: bool,
    /// The access token of the guest whose account is to become the user's.
    guest_access_token: Option<String>,
}

/// How application services name the username; `username` is accepted, too.
#[derive(Debug, Deserialize)]
struct ServiceParams {
    user: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    user_id: UserId,
    /// Deprecated, but some clients still read it.
    home_server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(flatten)]
    tokens: Option<TokenFields>,
}

/// The services that registration uses.
struct Register {
    settings: Arc<Settings>,
    registrar: Registrar,
    registration: Registration,
    sessions: Sessions,
    logins: Logins,
    uia: UserInteractiveAuth,
    tokens: Arc<TokenChecker>,
    address: IpAddr,
    client: ClientInfo,
}

#[expect(clippy::too_many_arguments, reason = "a handler's parameters are its powers")]
pub(crate) async fn handle(
    WithinLimit { address, .. }: WithinLimit<rate_limited::Registration>,
    Query(query): Query<KindQuery>,
    State(settings): State<Arc<Settings>>,
    State(registrar): State<Registrar>,
    State(registration): State<Registration>,
    State(sessions): State<Sessions>,
    State(logins): State<Logins>,
    State(uia): State<UserInteractiveAuth>,
    State(tokens): State<Arc<TokenChecker>>,
    State(limits): State<Arc<RateLimits>>,
    RequestInfo(client): RequestInfo,
    app_service: AppServiceToken,
    JsonOrEmpty(body): JsonOrEmpty<Object>,
) -> Result<JsonBody<Response>, ApiError> {
    let register = Register { settings, registrar, registration, sessions, logins, uia, tokens, address, client };
    let registered = match query.kind {
        Kind::Guest => register.guest(&body, || limits.registration.check(&address)).await?,
        Kind::User if body.get_str("type") == Some(APP_SERVICE) => register.user_of_service(app_service, &body).await?,
        Kind::User => register.user(body, || limits.registration.check(&address)).await?,
    };
    Ok(JsonBody(response(registered)))
}

fn response(registered: Registered) -> Response {
    let home_server = registered.user_id.server_name().to_owned();
    let (device_id, tokens) = match registered.session {
        Some(session) => (Some(session.device_id), Some(session.tokens.into())),
        None => (None, None),
    };
    Response { user_id: registered.user_id, home_server, device_id, tokens }
}

fn registration_error(error: RegistrationError) -> ApiError {
    match error {
        RegistrationError::Refused(refusal) => policy_refusal(refusal),
        RegistrationError::Account(error) => register_error(error),
    }
}

impl Register {
    async fn guest(
        &self,
        body: &Object,
        count: impl FnOnce() -> Result<(), LimitExceeded>,
    ) -> Result<Registered, ApiError> {
        if !self.settings.registration.allow_guest_access {
            return Err(ApiError::forbidden("Guest access is disabled"));
        }
        let params: Params = parse(body)?;
        count()?;
        // The server chooses the device of a guest (client-server API, "Registration").
        let session =
            NewSession { initial_device_display_name: params.initial_device_display_name, ..NewSession::default() };
        self.registration.register_guest(session, self.client.clone()).await.map_err(registration_error)
    }

    /// Registers a user of an application service, which may do that whether or not registration is open. Services that
    /// manage devices themselves must not ask for a session (MSC4190).
    async fn user_of_service(&self, token: AppServiceToken, body: &Object) -> Result<Registered, ApiError> {
        let service = token.require()?;
        let params: Params = parse(body)?;
        let username = parse::<ServiceParams>(body)?.user.or(params.username);
        let username =
            username.ok_or_else(|| ApiError::missing_param("Desired Username is missing or not a string"))?;
        let session = NewSession {
            device_id: params.device_id,
            initial_device_display_name: params.initial_device_display_name,
            refresh_token: params.refresh_token,
        };
        if !params.inhibit_login && service.msc4190 {
            let message = "This application service manages its devices; it has to set inhibit_login";
            return Err(ApiError::bad_request("M_APPSERVICE_LOGIN_UNSUPPORTED", message));
        }
        let session = (!params.inhibit_login).then_some(session);
        let account =
            NewAccount { username: Some(username), session, app_service: Some(service), ..NewAccount::default() };
        self.registrar.register(account).await.map_err(register_error)
    }

    async fn user(
        &self,
        mut body: Object,
        count: impl FnOnce() -> Result<(), LimitExceeded>,
    ) -> Result<Registered, ApiError> {
        let flows = self.flows()?;
        let auth = take_auth(&mut body)?;
        let asked: Params = parse(&body)?;
        let done = self.registered_before(auth.as_ref()).await?;
        if done.is_none() {
            self.check(&asked).await?;
        }
        let passed = authenticate_registration(&self.uia, flows, self.address, auth, body).await?;
        let params: Params = parse(&passed.params)?;
        let session = NewSession {
            device_id: params.device_id,
            initial_device_display_name: params.initial_device_display_name,
            refresh_token: params.refresh_token,
        };
        let session = (!params.inhibit_login).then_some(session);
        if let Some(user_id) = passed.registered {
            return self.again(&user_id, asked.password.as_deref(), session).await;
        }
        let Some(password) = params.password else {
            return Err(ApiError::missing_param("Missing params: password"));
        };
        let guest = match &params.guest_access_token {
            Some(token) => Some(self.guest_of(token, params.username.as_deref()).await?),
            None => None,
        };
        count()?;
        let account = NewAccount {
            username: params.username,
            guest,
            password: Some(password),
            ui_auth_session: passed.session,
            session,
            ..NewAccount::default()
        };
        self.registration.register(account, Some(self.client.clone())).await.map_err(registration_error)
    }

    /// Returns the flows for registration, if it is open.
    fn flows(&self) -> Result<Vec<Flow>, ApiError> {
        let registration = &self.settings.registration;
        if !registration.enable_registration {
            return Err(ApiError::forbidden(
                "Registration has been disabled. Only m.login.application_service registrations are allowed.",
            ));
        }
        if let Some(stage) = registration.unsupported_verification {
            tracing::warn!("registration refused: the configuration asks for {stage}, which is not in effect yet");
            return Err(ApiError::forbidden("Registration needs a verification that this server does not offer yet"));
        }
        Ok(if registration.registration_requires_token { vec![vec![REGISTRATION_TOKEN]] } else { vec![vec![DUMMY]] })
    }

    /// Returns the user that was registered with this session before: the client missed the response and asks again.
    async fn registered_before(&self, auth: Option<&Object>) -> Result<Option<String>, ApiError> {
        match auth.and_then(|auth| auth.get_str("session")) {
            Some(session) => self.uia.registered_user(session).await.map_err(uia_error),
            None => Ok(None),
        }
    }

    async fn check(&self, params: &Params) -> Result<(), ApiError> {
        if let Some(password) = &params.password {
            self.registrar.check_password(password).map_err(weak_password)?;
        }
        let Some(username) = &params.username else { return Ok(()) };
        if let Some(token) = &params.guest_access_token {
            return self.guest_of(token, Some(username)).await.map(drop);
        }
        match self.registrar.check_username(username).await {
            Ok(_) => Ok(()),
            Err(RegisterError::UserInUse) if self.settings.registration.inhibit_user_in_use_error => Ok(()),
            Err(error) => Err(register_error(error)),
        }
    }

    /// Returns the guest whose access token this is. The guest becomes the user `username`, which must be the guest's
    /// own name.
    async fn guest_of(&self, token: &str, username: Option<&str>) -> Result<UserId, ApiError> {
        let seen = Seen { ip: Some(self.address), user_agent: None };
        let requester = self.tokens.check(token, seen).await.map_err(token_error)?;
        if requester.is_guest && username.is_none_or(|name| name == requester.user_id.localpart()) {
            Ok(requester.user_id.clone())
        } else {
            Err(ApiError::forbidden("Cannot register taken user ID without valid guest credentials for that user."))
        }
    }

    /// Returns the response again. A session id is seen by more than the user (it is in the URL of the fallback page),
    /// so this request has to give the password itself.
    async fn again(
        &self,
        user_id: &str,
        password: Option<&str>,
        session: Option<NewSession>,
    ) -> Result<Registered, ApiError> {
        let password = password.ok_or_else(|| ApiError::missing_param("Missing params: password"))?;
        let who = Identifier::User(user_id.to_owned());
        let user_id = self.logins.by_password(&who, password).await.map_err(login_error)?;
        let session = match session {
            Some(session) => Some(self.sessions.start(&user_id, session).await.map_err(session_error)?),
            None => None,
        };
        self.registration.resume(&user_id).await;
        Ok(Registered { user_id, session })
    }
}
