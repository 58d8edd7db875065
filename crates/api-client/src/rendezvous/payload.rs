//! Payloads of MSC4108.

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use plexus_http::{ApiError, body};

/// A payload: plain text.
///
/// Rejections: `M_MISSING_PARAM` without a Content-Type, `M_INVALID_PARAM` with another one, and those of
/// [`body::read`].
pub(crate) struct PlainText(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for PlainText {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.ok_or_else(|| ApiError::missing_param("Missing header: Content-Type"))?;
        let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("text/plain") {
            return Err(ApiError::invalid_param("The Content-Type must be text/plain"));
        }
        let body = body::read(request).await?;
        let text = String::from_utf8(body.bytes.to_vec());
        text.map(Self).map_err(|_| ApiError::invalid_param("The payload is not valid UTF-8"))
    }
}
