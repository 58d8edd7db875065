//! The parts that uploads share: the body is written to the disk as it arrives, and is never whole in memory.

use std::time::Duration;

use axum::extract::Request;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use plexus_http::ApiError;
use plexus_http::media::{media_error, upload_too_large};
use plexus_media::{Description, MediaStore, Upload};
use plexus_protocol::id::UserId;
use serde::Deserialize;

/// How long a client may send nothing in the middle of an upload.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
pub(crate) struct Query {
    filename: Option<String>,
}

/// Returns the description of the content, from the headers and the query.
pub(crate) fn description(request: &Request, query: Query) -> Description {
    let header = request.headers().get(CONTENT_TYPE);
    let content_type = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
    Description { content_type, upload_name: query.filename }
}

/// Writes the request's body to a new upload of `user`.
pub(crate) async fn body(media: &MediaStore, user: &UserId, request: Request) -> Result<Upload, ApiError> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > media.max_upload_bytes()) {
        return Err(upload_too_large(media.max_upload_bytes()));
    }
    media.check_upload_limits(user, announced.unwrap_or(0)).await.map_err(media_error)?;
    let mut upload = media.begin_upload().await.map_err(media_error)?;
    let mut body = request.into_body();
    loop {
        #[expect(clippy::disallowed_methods, reason = "bounds the wait for a client")]
        let Ok(frame) = tokio::time::timeout(SILENCE, body.frame()).await else {
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", "The upload stopped arriving"));
        };
        let Some(frame) = frame else {
            return Ok(upload);
        };
        let frame = frame.map_err(|_| ApiError::unknown("The upload broke off"))?;
        if let Ok(data) = frame.into_data() {
            upload.write(&data).await.map_err(|error| media_error(media.refused(error)))?;
        }
    }
}
