//! The one error that leaves a handler: the part that the client reads. The part for the operator is logged where the
//! error is made.

use std::borrow::Cow;
use std::error::Error;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use plexus_store::DbError;
use plexus_store::repo::bounds::BoundError;
use serde_json::{Map, Value};

/// An error response: status, `errcode`, `error` and further fields of the JSON body.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    /// `None`: the body is `fields` alone (user-interactive authentication answers 401 without an errcode).
    errcode: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    fields: Option<Box<Map<String, Value>>>,
    retry_after_ms: Option<u64>,
}

impl ApiError {
    /// Creates an error with this status, `errcode` (`M_...`) and text for the client.
    pub fn new(
        status: StatusCode,
        errcode: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, errcode: Some(errcode.into()), message: message.into(), fields: None, retry_after_ms: None }
    }

    /// Creates a response whose body is exactly `fields`, such as the 401 of user-interactive authentication.
    pub fn body(status: StatusCode, fields: Map<String, Value>) -> Self {
        Self { status, errcode: None, message: Cow::Borrowed(""), fields: Some(Box::new(fields)), retry_after_ms: None }
    }

    /// Adds one more field to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", message)
    }

    /// 403 `M_GUEST_ACCESS_FORBIDDEN`.
    pub fn guests_forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed")
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", message)
    }

    /// 400 `M_NOT_JSON`: the body is not JSON at all.
    pub fn not_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", message)
    }

    /// 400 `M_BAD_JSON`: JSON of the wrong shape.
    pub fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", message)
    }

    /// 400 `M_MISSING_PARAM`.
    pub fn missing_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", message)
    }

    /// 400 `M_INVALID_PARAM`.
    pub fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", message)
    }

    /// 400 with the given `errcode`.
    pub fn bad_request(errcode: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, errcode, message)
    }

    /// 400 `M_UNKNOWN`: a refusal without a code of its own.
    pub fn unknown(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message)
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Missing access token")
    }

    /// 401 `M_UNKNOWN_TOKEN`. With `soft_logout` the client keeps its keys and logs in again (client-server API, soft
    /// logout).
    pub fn unknown_token(soft_logout: bool) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "Invalid access token passed.")
            .with("soft_logout", soft_logout)
    }

    /// 429 `M_LIMIT_EXCEEDED`, with `retry_after_ms` in the body and the header Retry-After in whole seconds.
    pub fn limit_exceeded(retry_after_ms: u64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", "Too Many Requests")
            .with("retry_after_ms", retry_after_ms);
        error.retry_after_ms = Some(retry_after_ms);
        error
    }

    /// 404 `M_UNRECOGNIZED`: no such endpoint.
    pub fn unrecognized() -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "Unrecognized request")
    }

    /// 405 `M_UNRECOGNIZED`: the endpoint exists, the method does not.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "Unrecognized request")
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message)
    }

    /// 500 `M_UNKNOWN`: logs `error` with its causes, and shows the client nothing of it.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        let text: Vec<String> = causes(error).map(ToString::to_string).collect();
        tracing::error!("{}", text.join(": "));
        Self::internal_silent()
    }

    /// 500 `M_UNKNOWN` for an error that has been logged already.
    pub(crate) fn internal_silent() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "Internal server error")
    }

    /// Returns the body of the response.
    pub fn into_json(self) -> String {
        let mut body = Map::new();
        if let Some(errcode) = self.errcode {
            body.insert("errcode".to_owned(), errcode.into());
            body.insert("error".to_owned(), self.message.into());
        }
        body.extend(self.fields.map(|fields| *fields).unwrap_or_default());
        Value::Object(body).to_string()
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the `errcode`, when the body has one.
    pub fn errcode(&self) -> Option<&str> {
        self.errcode.as_deref()
    }
}

impl From<plexus_base::LimitExceeded> for ApiError {
    fn from(refused: plexus_base::LimitExceeded) -> Self {
        Self::limit_exceeded(u64::try_from(refused.retry_after.as_millis()).unwrap_or(u64::MAX).max(1))
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::TooLarge(error) => Self::too_large(error.to_string()),
            error => Self::internal(&error),
        }
    }
}

impl From<BoundError> for ApiError {
    fn from(error: BoundError) -> Self {
        match error {
            BoundError::TooLarge(what) => Self::too_large(what),
            BoundError::Db(error) => error.into(),
        }
    }
}

/// Returns an error and its causes.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after_ms) = (self.status, self.retry_after_ms);
        let mut response = (status, self.into_json()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(ms) = retry_after_ms {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response
    }
}
