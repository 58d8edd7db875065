//! The parts that downloads share: parameters, headers, and the content as a stream.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use plexus_base::config::Config;
use plexus_http::ApiError;
use plexus_http::media::{DownloadQuery, ThumbnailQuery, media_error};
use plexus_media::{Downloader, Downloads, OpenMedia, Wanted, serving};
use tokio_util::io::ReaderStream;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Refuses a request without a token if all media needs one (`enable_authenticated_media`).
pub(crate) fn check_legacy(config: &Config) -> Result<(), ApiError> {
    if config.media.enable_authenticated_media {
        return Err(ApiError::not_found("This media needs an access token: /_matrix/client/v1/media"));
    }
    Ok(())
}

/// Returns the content; `file_name` replaces the name with which it was uploaded.
pub(crate) async fn content(
    media: &Arc<Downloads>,
    headers: &HeaderMap,
    (server_name, media_id): (&str, &str),
    file_name: Option<String>,
    query: DownloadQuery,
    downloader: &Downloader,
) -> Result<Response, ApiError> {
    let (timeout, allow_remote) = (query.timeout(), query.allow_remote());
    let wanted = Wanted { server_name, media_id, timeout, allow_remote, downloader };
    let mut open = media.get(wanted).await.map_err(media_error)?;
    open.upload_name = file_name.or(open.upload_name);
    Ok(respond(open, headers))
}

/// Returns a thumbnail of the content.
pub(crate) async fn thumbnail(
    media: &Arc<Downloads>,
    headers: &HeaderMap,
    (server_name, media_id): (&str, &str),
    query: ThumbnailQuery,
    downloader: &Downloader,
) -> Result<Response, ApiError> {
    let (timeout, allow_remote) = (query.timeout(), query.allow_remote());
    let wanted = Wanted { server_name, media_id, timeout, allow_remote, downloader };
    let open = media.thumbnail(wanted, query.request()?).await.map_err(media_error)?;
    Ok(respond(open, headers))
}

fn respond(open: OpenMedia, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", open.tag);
    let known = asked.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let mut response = if known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from_stream(ReaderStream::with_capacity(open.file, 64 * 1024)))
    };
    let not_modified = response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    let content_type = serving::content_type(&open.content_type);
    let disposition = serving::content_disposition(content_type, open.upload_name.as_deref());
    for (name, value) in [(CONTENT_TYPE, content_type), (CONTENT_DISPOSITION, &disposition), (ETAG, &tag)] {
        // All three consist of printable ASCII characters.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    if !not_modified {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(open.length));
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(serving::CONTENT_SECURITY_POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    // Content never changes under its id, but access to it may end.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, s-maxage=0, immutable"));
    response
}
