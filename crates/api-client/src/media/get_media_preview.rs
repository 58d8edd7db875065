//! GET /_matrix/media/v3/preview_url

use std::sync::Arc;

use axum::body::Bytes;
use http::StatusCode;
use plexus_http::media::media_error;
use plexus_http::{ApiError, Auth, Query, RawJson, State};
use plexus_media::{MediaError, PreviewError, Previews, UploadError};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    url: String,
    /// Unix ms.
    ts: Option<i64>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(previews): State<Arc<Previews>>,
    parameters: Result<Query<Parameters>, ApiError>,
) -> Result<RawJson, ApiError> {
    // As if there were no such endpoint, whatever the parameters are.
    if !previews.is_enabled() {
        return Err(ApiError::unrecognized());
    }
    let Query(Parameters { url, ts }) = parameters?;
    let at_ms = ts.map(|ts| u64::try_from(ts).unwrap_or(0));
    let json = previews.preview(&requester.user_id, &url, at_ms).await.map_err(api_error)?;
    Ok(RawJson(Bytes::copy_from_slice(json.as_bytes())))
}

/// Returns the error that Synapse has for it; 502 or 400 where Synapse has 500.
fn api_error(error: PreviewError) -> ApiError {
    let unknown = |status, text: String| ApiError::new(status, "M_UNKNOWN", text);
    match error {
        PreviewError::Disabled => ApiError::unrecognized(),
        PreviewError::NotAUrl => ApiError::invalid_param("url is not a URL that can be previewed"),
        PreviewError::Scheme(scheme) => {
            unknown(StatusCode::BAD_REQUEST, format!("Previewing of {scheme}: URLs is forbidden"))
        }
        PreviewError::UrlForbidden => {
            unknown(StatusCode::FORBIDDEN, "URL blocked by url pattern blocklist entry".to_owned())
        }
        PreviewError::AddressForbidden => unknown(StatusCode::FORBIDDEN, "IP address blocked".to_owned()),
        PreviewError::NoAddress => {
            unknown(StatusCode::BAD_GATEWAY, "DNS resolution failure during URL preview generation".to_owned())
        }
        PreviewError::Status(status) => unknown(StatusCode::BAD_GATEWAY, format!("Got error {status}")),
        PreviewError::ContentType(content_type) => unknown(
            StatusCode::BAD_GATEWAY,
            format!("Requested file's content type not allowed for this operation: {content_type}"),
        ),
        PreviewError::TooLarge(limit) => ApiError::new(
            StatusCode::BAD_GATEWAY,
            "M_TOO_LARGE",
            format!("Requested file is too large > {limit} bytes"),
        ),
        PreviewError::TooSlow => {
            ApiError::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", "Requested file took too long to download")
        }
        // What exactly failed may be about this server's network.
        PreviewError::Failed(_) | PreviewError::Abandoned => {
            unknown(StatusCode::BAD_GATEWAY, "Failed to download content".to_owned())
        }
        PreviewError::Busy { retry_after_ms } => ApiError::limit_exceeded(retry_after_ms),
        // All clients who wait for the preview share the error.
        PreviewError::Media(error) => match &*error {
            MediaError::NoSpace { admin_contact } => {
                media_error(MediaError::NoSpace { admin_contact: admin_contact.clone() })
            }
            MediaError::Upload(UploadError::NoSpace) => media_error(MediaError::Upload(UploadError::NoSpace)),
            error => ApiError::internal(error),
        },
    }
}
