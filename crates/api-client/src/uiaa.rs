//! User-interactive authentication: the parts that the endpoints which need it share, and the fallback page.

pub(crate) mod get_uiaa_fallback_page;

use std::net::IpAddr;

use http::StatusCode;
use plexus_accounts::Requester;
use plexus_accounts::uia::{
    Attempt, Challenge, Flow, Passed, REGISTRATION, StageFailure, UiaError, UserInteractiveAuth,
};
use plexus_http::ApiError;
use plexus_http::body::wrong_shape;
use plexus_protocol::json::{Object, Value};
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

/// A request to be authenticated.
pub(crate) struct Request<'a> {
    /// Method and path without prefix.
    pub operation: String,
    pub requester: &'a Requester,
    /// The whole body, `auth` included.
    pub body: Object,
    /// Whether a recent authentication counts (`ui_auth.session_timeout`).
    pub can_skip: bool,
    /// Whether the requester need not authenticate: an application service has no password of its users.
    pub is_exempt: bool,
}

/// Authorises a request of a user, and calls `act` with its body without `auth`. The session that authorised it is used
/// up, unless `act` fails.
pub(crate) async fn authorised<T: DeserializeOwned, R>(
    uia: &UserInteractiveAuth,
    mut request: Request<'_>,
    act: impl AsyncFnOnce(T) -> Result<R, ApiError>,
) -> Result<R, ApiError> {
    let auth = take_auth(&mut request.body)?;
    if request.is_exempt {
        return act(parse(&request.body)?).await;
    }
    let flows = uia.flows_of_user(&request.requester.user_id).await.map_err(uia_error)?;
    let attempt = Attempt {
        operation: request.operation,
        requester: Some(request.requester),
        address: None,
        flows,
        auth,
        params: request.body,
        can_skip: request.can_skip,
    };
    let opened = uia.open(attempt).await.map_err(uia_error)?;
    // The request must be valid before anybody has to give a password.
    parse::<T>(&opened.attempt.params)?;
    let passed = uia.authenticate_opened(opened).await.map_err(uia_error)?;
    let done = match parse(&passed.params) {
        Ok(params) => act(params).await,
        Err(error) => Err(error),
    };
    if let (Err(_), Some(session)) = (&done, passed.session)
        && let Err(error) = uia.restore(session).await
    {
        // The client gets the error of its request instead.
        tracing::warn!("a session of user-interactive authentication is lost: {error}");
    }
    done
}

/// Returns the body of a request of a user with the parameters of earlier requests of its session, `auth` included.
pub(crate) async fn with_earlier_params(
    uia: &UserInteractiveAuth,
    operation: String,
    requester: &Requester,
    mut body: Object,
) -> Result<Object, ApiError> {
    let auth = take_auth(&mut body)?;
    let attempt = Attempt {
        operation,
        requester: Some(requester),
        address: None,
        flows: Vec::new(),
        auth,
        params: body,
        can_skip: false,
    };
    let attempt = uia.open(attempt).await.map_err(uia_error)?.attempt;
    let mut body = attempt.params;
    if let Some(auth) = attempt.auth {
        body.insert("auth", auth);
    }
    Ok(body)
}

/// Authorises a registration, for which nobody is logged in.
pub(crate) async fn authenticate_registration(
    uia: &UserInteractiveAuth,
    flows: Vec<Flow>,
    address: IpAddr,
    auth: Option<Object>,
    params: Object,
) -> Result<Passed, ApiError> {
    let operation = REGISTRATION.to_owned();
    let attempt = Attempt { operation, requester: None, address: Some(address), flows, auth, params, can_skip: false };
    uia.authenticate(attempt).await.map_err(uia_error)
}

/// Removes `auth` from a body, and returns it.
pub(crate) fn take_auth(body: &mut Object) -> Result<Option<Object>, ApiError> {
    match body.remove("auth") {
        None => Ok(None),
        Some(auth) if auth.is_null() => Ok(None),
        Some(Value::Object(auth)) => Ok(Some(auth)),
        Some(_) => Err(ApiError::bad_json("auth must be an object")),
    }
}

/// Parses the body as a `T`. The error has the code of [`wrong_shape`].
pub(crate) fn parse<T: DeserializeOwned>(body: &Object) -> Result<T, ApiError> {
    body.deserialize_into().map_err(|error| wrong_shape(&error))
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
            ApiError::bad_request("M_UNRECOGNIZED", "This authentication type is not offered here")
        }
        UiaError::TooLarge => ApiError::too_large("The request is too large to be authenticated"),
        UiaError::NoFlow => ApiError::forbidden("No authentication flow is available for this account"),
        UiaError::Limited(refused) => refused.into(),
        UiaError::Hash(_) => ApiError::internal(&error),
        UiaError::Database(error) => error.into(),
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
