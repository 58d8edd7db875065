//! User-interactive authentication: the glue of the endpoints that need it, and the fallback page.

pub mod get_uiaa_fallback_page;

use http::StatusCode;
use plexus_accounts::Requester;
use plexus_accounts::uia::{Attempt, Challenge, Flow, PASSWORD, Passed, StageFailure, UiaError, UserInteractiveAuth};
use plexus_http::ApiError;
use plexus_protocol::json::{Object, Value};
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use crate::rate_limits::RateLimits;

/// A request to be authenticated.
pub(crate) struct Request<'a> {
    /// Method and path without prefix.
    pub operation: String,
    pub requester: &'a Requester,
    /// The whole body, `auth` included.
    pub body: Object,
    /// Whether a recent authentication counts (`ui_auth.session_timeout`).
    pub can_skip: bool,
}

/// Lets a request of a user pass, and answers its body without `auth`.
pub(crate) async fn authenticate<T: DeserializeOwned>(
    uia: &UserInteractiveAuth,
    limits: &RateLimits,
    mut request: Request<'_>,
) -> Result<T, ApiError> {
    let auth = take_auth(&mut request.body)?;
    // The request must be good before anybody is asked for a password.
    parse::<T>(&request.body)?;
    let user = request.requester.user_id.as_str();
    let gives_password = auth.as_ref().is_some_and(|auth| auth.get_str("type") == Some(PASSWORD));
    if gives_password {
        limits.login_failed_attempts.peek(user)?;
    }
    let flows = uia.flows_of_user(&request.requester.user_id).await.map_err(uia_error)?;
    let attempt = Attempt {
        operation: request.operation,
        requester: Some(request.requester),
        flows,
        auth,
        params: request.body,
        can_skip: request.can_skip,
    };
    let passed = uia.authenticate(attempt).await.map_err(|error| {
        if is_wrong_password(&error) {
            limits.login_failed_attempts.record(user);
        }
        uia_error(error)
    })?;
    parse(&passed.params)
}

/// As [`authenticate`], for registration, which nobody is logged in for.
pub(crate) async fn authenticate_registration(
    uia: &UserInteractiveAuth,
    flows: Vec<Flow>,
    auth: Option<Object>,
    params: Object,
) -> Result<Passed, ApiError> {
    let operation = "POST /register".to_owned();
    let attempt = Attempt { operation, requester: None, flows, auth, params, can_skip: false };
    uia.authenticate(attempt).await.map_err(uia_error)
}

/// Takes `auth` out of a body.
pub(crate) fn take_auth(body: &mut Object) -> Result<Option<Object>, ApiError> {
    match body.remove("auth") {
        None => Ok(None),
        Some(auth) if auth.is_null() => Ok(None),
        Some(Value::Object(auth)) => Ok(Some(auth)),
        Some(_) => Err(ApiError::bad_json("auth must be an object")),
    }
}

/// The body as a `T`; `M_BAD_JSON` else.
pub(crate) fn parse<T: DeserializeOwned>(body: &Object) -> Result<T, ApiError> {
    body.deserialize_into().map_err(|error| ApiError::bad_json(error.to_string()))
}

fn is_wrong_password(error: &UiaError) -> bool {
    matches!(error, UiaError::Incomplete(challenge) if challenge.failure == Some(StageFailure::WrongPassword))
}

pub(crate) fn uia_error(error: UiaError) -> ApiError {
    match error {
        UiaError::Incomplete(challenge) => challenge_body(&challenge),
        UiaError::UnknownSession => ApiError::unknown("Unknown session ID"),
        UiaError::OperationChanged => {
            ApiError::forbidden("Requested operation has changed during the UI authentication session.")
        }
        UiaError::MissingField(field) => ApiError::missing_param(format!("auth: {field} is missing or not a string")),
        UiaError::UnknownStage => {
            ApiError::new(StatusCode::BAD_REQUEST, "M_UNRECOGNIZED", "This authentication type is not offered here")
        }
        UiaError::TooLarge => ApiError::too_large("The request is too large to be authenticated"),
        UiaError::NoFlow => ApiError::forbidden("No authentication flow is available for this account"),
        UiaError::Hash(_) | UiaError::Database(_) => ApiError::internal(&error),
    }
}

fn challenge_body(challenge: &Challenge) -> ApiError {
    let flows: Vec<_> = challenge.flows.iter().map(|stages| json!({ "stages": stages })).collect();
    let mut body = Map::new();
    body.insert("session".to_owned(), json!(challenge.session_id));
    body.insert("flows".to_owned(), json!(flows));
    body.insert("completed".to_owned(), json!(challenge.completed));
    body.insert("params".to_owned(), json!({}));
    if let Some(failure) = challenge.failure {
        let errcode = match failure {
            StageFailure::WrongPassword => "M_FORBIDDEN",
            StageFailure::InvalidRegistrationToken => "M_UNAUTHORIZED",
        };
        body.insert("errcode".to_owned(), json!(errcode));
        body.insert("error".to_owned(), json!(failure.to_string()));
    }
    ApiError::body(StatusCode::UNAUTHORIZED, body)
}
