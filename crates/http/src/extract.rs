//! Path and query extractors with Matrix error bodies.

pub mod x_matrix;

use axum::extract::FromRequestParts;
use axum::extract::rejection::PathRejection;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};

use crate::ApiError;
use crate::body::in_words;

/// The path's parameters, percent-decoded. Rejection: `M_INVALID_PARAM`, also for U+0000, which no identifier has and
/// no database stores.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        refuse_nul(parts.uri.path())?;
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                if error.status().is_server_error() {
                    return Err(ApiError::internal(&error));
                }
                Err(ApiError::invalid_param(error.body_text()))
            }
            Err(error) => Err(ApiError::internal(&error)),
        }
    }
}

/// The query's parameters; a `Vec` field takes every value of a repeated parameter.
/// Rejections: `M_MISSING_PARAM`, `M_INVALID_PARAM`, the latter also for U+0000.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        refuse_nul(query)?;
        serde_html_form::from_str(query).map(Self).map_err(|error| {
            let text = error.to_string();
            if text.starts_with("missing field") {
                ApiError::missing_param(in_words(&text))
            } else {
                ApiError::invalid_param(in_words(&text))
            }
        })
    }
}

/// Deserializes a token parameter. Some clients send an empty one where there is none: as in Synapse it counts as
/// absent. For `#[serde(default, deserialize_with = "non_empty")]`.
pub fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// Refuses U+0000, which stands in a URI only as `%00`.
fn refuse_nul(encoded: &str) -> Result<(), ApiError> {
    if encoded.contains("%00") {
        Err(ApiError::invalid_param("The path and the query must not contain U+0000"))
    } else {
        Ok(())
    }
}
