//! JSON in and out.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ApiError;

/// The largest JSON body read, in bytes: 200 events of the largest size, as in Synapse.
pub const MAX_JSON_BYTES: usize = 200 * 65_536;

/// How long the whole of a JSON body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much more of an oversized body is read and dropped before the answer, so that a client which is still sending
/// can read the answer instead of a reset connection.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;

/// A JSON object read from the request's body; the Content-Type is not looked at, as the clients' habits demand.
///
/// Rejections: `M_NOT_JSON`, `M_BAD_JSON`, `M_TOO_LARGE`.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// As [`Json`], but an empty body counts as `{}`: for endpoints whose fields are all optional.
#[derive(Debug)]
pub struct JsonOrEmpty<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        parse_object(&read(request, MAX_JSON_BYTES).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonOrEmpty<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = read(request, MAX_JSON_BYTES).await?;
        parse_object(if body.is_empty() { b"{}" } else { &body }).map(Self)
    }
}

/// Reads the whole body, at most `limit` bytes of it (`M_TOO_LARGE` beyond).
pub async fn read(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    tokio::time::timeout(BODY_TIMEOUT, collect(request, limit)).await.unwrap_or_else(|_| {
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", "The request's body did not arrive in time"))
    })
}

async fn collect(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    let mut body = request.into_body();
    if announced > limit.saturating_add(MAX_DRAINED_BYTES) {
        return Err(oversized());
    }
    let mut whole = BytesMut::with_capacity(announced.min(limit));
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::unknown("The request's body broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen += data.len();
        if seen <= limit {
            whole.extend_from_slice(&data);
        } else if seen > limit.saturating_add(MAX_DRAINED_BYTES) {
            return Err(oversized());
        }
    }
    if seen > limit {
        return Err(oversized());
    }
    Ok(whole.freeze())
}

fn oversized() -> ApiError {
    ApiError::too_large("The request's body is too large")
}

/// Parses a JSON object into `T`. serde would read a struct from an array too; Matrix bodies are objects.
pub fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::not_json("The request's body is not valid UTF-8"))?;
    let is_object = text.trim_ascii_start().starts_with('{');
    if !is_object {
        return Err(match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => ApiError::bad_json("The request's body must be a JSON object"),
            Err(error) => ApiError::not_json(format!("Content not JSON: {error}")),
        });
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ApiError::bad_json(error.to_string()),
        _ => ApiError::not_json(format!("Content not JSON: {error}")),
    })
}

/// A 200 answer with `T` as its JSON body.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: Serialize> IntoResponse for JsonBody<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => json_response(body.into()),
            Err(error) => ApiError::internal(&error).into_response(),
        }
    }
}

/// A 200 answer whose body is JSON that was written already.
#[derive(Debug)]
pub struct RawJson(pub Bytes);

impl IntoResponse for RawJson {
    fn into_response(self) -> Response {
        json_response(self.0)
    }
}

/// A 200 answer with the body `{}`.
#[derive(Debug)]
pub struct Empty;

impl IntoResponse for Empty {
    fn into_response(self) -> Response {
        json_response(Bytes::from_static(b"{}"))
    }
}

fn json_response(body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
