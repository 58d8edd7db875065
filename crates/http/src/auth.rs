//! Extractors for the user who makes the request, by the access token.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRef, FromRequestParts};
use http::StatusCode;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use plexus_accounts::{ActingAs, ActingError, Requester, Seen, TokenChecker, TokenError};
use plexus_base::AppService;
use plexus_protocol::id::UserId;

use crate::{ApiError, peer};

/// A registered user; guests get `M_GUEST_ACCESS_FORBIDDEN`.
#[derive(Debug)]
pub struct Auth(pub Arc<Requester>);

/// A registered user or a guest.
#[derive(Debug)]
pub struct AuthGuest(pub Arc<Requester>);

/// A server administrator; others get `M_FORBIDDEN`.
#[derive(Debug)]
pub struct AuthAdmin(pub Arc<Requester>);

/// A registered user or a guest, also when an administrator has locked the account: for logging out.
#[derive(Debug)]
pub struct AuthEvenLocked(pub Arc<Requester>);

/// A registered user, a guest, or nobody (no token given). A wrong token is still an error.
#[derive(Debug)]
pub struct MaybeAuth(pub Option<Arc<Requester>>);

/// The application service whose token the request has, whoever it acts as.
#[derive(Debug)]
pub struct AppServiceToken {
    service: Option<Arc<AppService>>,
    has_token: bool,
}

impl AppServiceToken {
    /// Whether it is the token of an application service to which no rate limit applies.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.service.as_ref().is_some_and(|service| !service.rate_limited)
    }

    /// Returns the application service.
    ///
    /// # Errors
    /// `M_MISSING_TOKEN`, and `M_UNKNOWN_TOKEN` for other tokens.
    pub fn require(self) -> Result<Arc<AppService>, ApiError> {
        let error = if self.has_token { ApiError::unknown_token(false) } else { ApiError::missing_token() };
        self.service.ok_or(error)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AppServiceToken
where
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // A request that names two tokens names none of an application service.
        let token = access_token(parts).ok().flatten();
        let checker = Arc::<TokenChecker>::from_ref(state);
        let service = token.as_deref().and_then(|token| checker.app_service(token));
        let service = service.filter(|service| service.may_connect_from(peer::of(parts)));
        Ok(Self { service, has_token: token.is_some() })
    }
}

/// The session of a registered user or a guest, for a request that waits before it responds.
pub struct Session {
    /// The user, when the request began.
    pub requester: Arc<Requester>,
    token: String,
    checker: Arc<TokenChecker>,
}

impl Session {
    /// Refuses the response if the session was ended while the request waited: a stolen device that was logged out must
    /// not receive one more message.
    ///
    /// # Errors
    /// `M_UNKNOWN_TOKEN`, `M_USER_LOCKED`.
    pub async fn require_open(&self) -> Result<(), ApiError> {
        self.checker.check_after_wait(&self.token, &self.requester).await.map_err(token_error)
    }
}

/// The user whose access token was accepted; among the request's extensions from then on.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated(pub(crate) UserId);

/// Where the extractors note the user, for the layers around the handler. Among the extensions of each request.
#[derive(Debug, Clone, Default)]
pub struct LoggedUser(pub(crate) Arc<OnceLock<UserId>>);

impl LoggedUser {
    /// Returns the user, once the access token has been accepted.
    pub fn get(&self) -> Option<&UserId> {
        self.0.get()
    }

    /// Notes the user, unless somebody has.
    pub fn set(&self, user: &UserId) {
        self.0.get_or_init(|| user.clone());
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybeAuth
where
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Some(token) = access_token(parts)? else {
            return Ok(Self(None));
        };
        let checker = Arc::<TokenChecker>::from_ref(state);
        let requester = match checker.app_service(&token) {
            Some(service) => {
                let checked = checker.check_app_service(&service, acting_as(parts)?, seen(parts)).await;
                checked.map_err(acting_error)?
            }
            None => checker.check(&token, seen(parts)).await.map_err(token_error)?,
        };
        note(parts, &requester);
        Ok(Self(Some(requester)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AuthEvenLocked
where
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let token = access_token(parts)?.ok_or_else(ApiError::missing_token)?;
        let checker = Arc::<TokenChecker>::from_ref(state);
        let requester = match checker.app_service(&token) {
            Some(service) => match checker.check_app_service(&service, acting_as(parts)?, seen(parts)).await {
                Ok(requester) | Err(ActingError::Locked(requester)) => requester,
                Err(error) => return Err(acting_error(error)),
            },
            None => match checker.check(&token, seen(parts)).await {
                Ok(requester) | Err(TokenError::Locked(requester)) => requester,
                Err(error) => return Err(token_error(error)),
            },
        };
        note(parts, &requester);
        Ok(Self(requester))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session
where
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let AuthGuest(requester) = AuthGuest::from_request_parts(parts, state).await?;
        let token = access_token(parts)?.ok_or_else(ApiError::missing_token)?;
        Ok(Self { requester, token, checker: Arc::<TokenChecker>::from_ref(state) })
    }
}

fn seen(parts: &Parts) -> Seen<'_> {
    Seen { ip: peer::of(parts), user_agent: parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) }
}

/// Records the user for the log line and for reading the body. Another extractor of the same handler may have done so
/// already.
fn note(parts: &mut Parts, requester: &Requester) {
    parts.extensions.insert(Authenticated(requester.user_id.clone()));
    if let Some(logged) = parts.extensions.get::<LoggedUser>() {
        logged.set(&requester.user_id);
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AuthGuest
where
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let MaybeAuth(requester) = MaybeAuth::from_request_parts(parts, state).await?;
        requester.map(Self).ok_or_else(ApiError::missing_token)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Auth
where
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let AuthGuest(requester) = AuthGuest::from_request_parts(parts, state).await?;
        if requester.is_guest {
            return Err(ApiError::guests_forbidden());
        }
        Ok(Self(requester))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AuthAdmin
where
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Auth(requester) = Auth::from_request_parts(parts, state).await?;
        if !requester.is_admin {
            return Err(ApiError::forbidden("You are not a server admin"));
        }
        Ok(Self(requester))
    }
}

/// Returns the error for an access token that is not accepted.
pub fn token_error(error: TokenError) -> ApiError {
    match error {
        TokenError::Unknown => ApiError::unknown_token(false),
        TokenError::Expired => ApiError::unknown_token(true),
        TokenError::Locked(_) => locked(),
        TokenError::Database(error) => error.into(),
    }
}

/// Returns the error for a request that an application service may not make.
fn acting_error(error: ActingError) -> ApiError {
    match error {
        ActingError::Address => ApiError::unknown_token(false),
        ActingError::NotItsUser(_) | ActingError::NotRegistered(_) => ApiError::forbidden(error.to_string()),
        ActingError::UnknownDevice { .. } => ApiError::bad_request("M_UNKNOWN_DEVICE", error.to_string()),
        ActingError::Locked(_) => locked(),
        ActingError::Database(error) => error.into(),
    }
}

/// Returns the user and device that an application service makes the request for. The unstable name of the device's
/// parameter is that of MSC3202.
fn acting_as(parts: &Parts) -> Result<ActingAs, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let of = |name: &str| {
        let Some(raw) = raw_parameter(query, name) else { return Ok(None) };
        let readable = decoded(raw).ok_or_else(|| ApiError::invalid_param(format!("{name} is not UTF-8")))?;
        Ok::<_, ApiError>(Some(readable))
    };
    let (device_id, of_msc3202) = (of("device_id")?, of("org.matrix.msc3202.device_id")?);
    Ok(ActingAs { user_id: of("user_id")?, device_id: device_id.or(of_msc3202) })
}

/// 403 for suspended users, who may read and leave but not write (client-server API, "Account suspension").
pub fn require_not_suspended(requester: &Requester) -> Result<(), ApiError> {
    if requester.suspended { Err(suspended()) } else { Ok(()) }
}

/// 403 `M_USER_SUSPENDED`.
pub(crate) fn suspended() -> ApiError {
    let message = "This action is not permitted while the account is suspended";
    ApiError::new(StatusCode::FORBIDDEN, "M_USER_SUSPENDED", message)
}

pub(crate) fn locked() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_USER_LOCKED", "User account has been locked").with("soft_logout", true)
}

/// Returns the access token of the Authorization header or of the query parameter `access_token`, if any.
///
/// Both at once are refused, as in Synapse: it is unclear which one is meant.
fn access_token(parts: &Parts) -> Result<Option<String>, ApiError> {
    let from_query = parts.uri.query().and_then(query_token);
    let Some(header) = parts.headers.get(AUTHORIZATION) else {
        return Ok(from_query);
    };
    if from_query.is_some() {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "M_MISSING_TOKEN",
            "Mixing Authorization headers and access_token query parameters.",
        ));
    }
    let token = header.to_str().ok().and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
    });
    match token {
        Some(token) => Ok(Some(token.to_owned())),
        None => Err(ApiError::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Invalid Authorization header.")),
    }
}

fn query_token(query: &str) -> Option<String> {
    decoded(raw_parameter(query, "access_token")?).filter(|token| !token.is_empty())
}

fn raw_parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn decoded(raw: &str) -> Option<String> {
    // A form's space is a plus sign.
    let raw = raw.replace('+', " ");
    plexus_net::percent_decode(&raw).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
