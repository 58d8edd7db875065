//! JSON in and out.
//!
//! Every route says how large its bodies may be ([`Routes`](crate::Routes)); [`BodyReader`] bounds what all of them
//! take together.

mod budget;
mod reader;
mod shape;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use plexus_protocol::json::{NotPortable, Object};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::ApiError;

pub use budget::{BudgetSize, ByteBudget, HeldBytes, SMALL_BODY_BYTES, Sender};
pub(crate) use reader::{BodyRead, BodyRule, read_signed};
pub use reader::{BodyReader, MAX_UNKNOWN_BYTES, WholeBody, read};
pub use shape::{in_words, wrong_shape};

/// The largest JSON body that any route reads, in bytes: 200 events of the largest size, as in Synapse.
pub const MAX_JSON_BYTES: usize = 200 * 65_536;

/// A JSON object from the request's body. The Content-Type is ignored, because clients often omit it.
///
/// Rejections: `M_NOT_JSON`, `M_BAD_JSON`, `M_MISSING_PARAM`, `M_INVALID_PARAM`, and those of [`read`].
#[derive(Debug)]
pub struct Json<T>(pub T);

/// The text of a JSON object that is stored and returned later as it is. Every client can read it: its numbers are
/// finite, its text is Unicode, and it does not nest deeper than
/// [`MAX_PORTABLE_NESTING`](plexus_protocol::json::MAX_PORTABLE_NESTING).
///
/// Rejections: those of [`Json`].
#[derive(Debug)]
pub struct JsonText(pub String);

/// As [`Json`], but an empty body counts as `{}`: for endpoints whose fields are all optional.
#[derive(Debug)]
pub struct JsonOrEmpty<T>(pub T);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read(request).await?.work_on(parse_object).await?.map(Self)
    }
}

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequest<S> for JsonOrEmpty<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let parse = |body: &[u8]| parse_object(if body.is_empty() { b"{}" } else { body });
        read(request).await?.work_on(parse).await?.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read(request).await?.work_on(object_text).await?.map(Self)
    }
}

fn object_text(body: &[u8]) -> Result<String, ApiError> {
    let text: Box<RawValue> = parse_object(body)?;
    let checked = Object::parse(text.get()).map_err(NotPortable::from).and_then(|object| object.check_readable());
    checked.map_err(|error| ApiError::bad_json(error.to_string()))?;
    Ok(String::from(Box::<str>::from(text)))
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
    serde_json::from_str(text).map_err(|error| match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        // Whatever serde calls it: an array that is too long is a syntax error to it.
        Ok(_) => wrong_shape(&error),
        Err(error) => ApiError::not_json(format!("Content not JSON: {error}")),
    })
}

/// A 200 response with `T` as its JSON body.
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

/// A 200 response whose body is JSON that was written before.
#[derive(Debug)]
pub struct RawJson(pub Bytes);

impl IntoResponse for RawJson {
    fn into_response(self) -> Response {
        json_response(self.0)
    }
}

/// A 200 response with the body `{}`.
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
