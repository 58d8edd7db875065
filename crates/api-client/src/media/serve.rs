//! The parts that downloads share: parameters, headers, and the content as a stream.

use std::convert::Infallible;
use std::io::SeekFrom;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use plexus_base::config::Config;
use plexus_http::ApiError;
use plexus_http::media::{DownloadQuery, ThumbnailQuery, media_error};
use plexus_media::{ByteRange, Downloader, Downloads, MediaHead, OpenMedia, Wanted, serving};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// How many bytes of a file are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

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
    conditions: &Conditions,
    (server_name, media_id): (&str, &str),
    file_name: Option<String>,
    query: DownloadQuery,
    downloader: &Downloader,
) -> Result<Response, ApiError> {
    let (timeout, allow_remote) = (query.timeout(), query.allow_remote());
    let wanted = Wanted { server_name, media_id, timeout, allow_remote, downloader };
    if conditions.may_need_no_content() {
        // A storage provider may have the content: it is not fetched for the headers.
        let mut head = media.head(wanted).await.map_err(media_error)?;
        head.upload_name = file_name.clone().or(head.upload_name);
        if let Some(response) = without_content(&head, conditions) {
            return Ok(response);
        }
    }
    let mut open = media.get(wanted).await.map_err(media_error)?;
    open.head.upload_name = file_name.or(open.head.upload_name);
    respond(open, conditions).await
}

/// Returns a thumbnail of the content.
pub(crate) async fn thumbnail(
    media: &Arc<Downloads>,
    conditions: &Conditions,
    (server_name, media_id): (&str, &str),
    query: ThumbnailQuery,
    downloader: &Downloader,
) -> Result<Response, ApiError> {
    let (timeout, allow_remote) = (query.timeout(), query.allow_remote());
    let wanted = Wanted { server_name, media_id, timeout, allow_remote, downloader };
    let open = media.thumbnail(wanted, query.request()?).await.map_err(media_error)?;
    respond(open, conditions).await
}

/// What a request says about the content that it wants, besides naming it.
pub(crate) struct Conditions {
    is_head: bool,
    /// If-None-Match.
    known_tags: Option<String>,
    /// Range; `None` if the method has no ranges.
    range: Option<String>,
    /// If-Range.
    range_of: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self {
            is_head: parts.method == Method::HEAD,
            known_tags: header(IF_NONE_MATCH),
            range: header(RANGE).filter(|_| parts.method == Method::GET),
            range_of: header(IF_RANGE),
        })
    }
}

impl Conditions {
    /// Whether the headers may be enough.
    fn may_need_no_content(&self) -> bool {
        self.is_head || self.known_tags.is_some()
    }

    /// Whether the client has the content with this tag (RFC 9110, section 13.1.2).
    fn is_known(&self, tag: &str) -> bool {
        let is_known = |known: &str| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag;
        self.known_tags.as_deref().is_some_and(|tags| tags.split(',').any(|known| is_known(known.trim())))
    }

    /// Returns the part that is wanted. With If-Range it is wanted only of the content with that tag; a date is that of
    /// no content (section 13.1.5).
    fn part(&self, tag: &str, length: u64) -> ByteRange {
        match &self.range {
            Some(range) if self.range_of.as_ref().is_none_or(|wanted| wanted.trim() == tag) => {
                ByteRange::select(range, length)
            }
            _ => ByteRange::Whole,
        }
    }
}

async fn respond(open: OpenMedia, conditions: &Conditions) -> Result<Response, ApiError> {
    let OpenMedia { head, file } = open;
    if let Some(response) = without_content(&head, conditions) {
        return Ok(response);
    }
    let length = head.length;
    let mut response = match conditions.part(&etag(&head), length) {
        ByteRange::Unsatisfiable => return Ok(unsatisfiable(length)),
        ByteRange::Whole => whole(file, length),
        ByteRange::Part { first, last } => part(file, first..=last, length).await?,
    };
    insert_headers(&mut response, &head);
    Ok(response)
}

/// Returns the response to a request that needs no content, because of its method or because the client has it.
fn without_content(head: &MediaHead, conditions: &Conditions) -> Option<Response> {
    let mut response = if conditions.is_known(&etag(head)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if conditions.is_head {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(head.length));
        response
    } else {
        return None;
    };
    insert_headers(&mut response, head);
    Some(response)
}

/// Returns the value of ETag.
fn etag(head: &MediaHead) -> String {
    format!("\"{}\"", head.tag)
}

fn insert_headers(response: &mut Response, head: &MediaHead) {
    let tag = etag(head);
    let content_type = serving::content_type(&head.content_type);
    let disposition = serving::content_disposition(content_type, head.upload_name.as_deref());
    let headers = response.headers_mut();
    for (name, value) in [(CONTENT_TYPE, content_type), (CONTENT_DISPOSITION, &disposition), (ETAG, &tag)] {
        // All three consist of printable ASCII characters.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(serving::CONTENT_SECURITY_POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    // Content never changes under its id, but access to it may end.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, s-maxage=0, immutable"));
}

/// Returns a response with the whole file.
fn whole(file: File, length: u64) -> Response {
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(file, CHUNK_BYTES)));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Returns a response with a part of a file of `length` bytes.
async fn part(mut file: File, range: RangeInclusive<u64>, length: u64) -> Result<Response, ApiError> {
    let (first, last) = range.into_inner();
    file.seek(SeekFrom::Start(first)).await.map_err(|error| ApiError::internal(&error))?;
    let part_length = last.saturating_sub(first).saturating_add(1);
    let mut response =
        Response::new(Body::from_stream(ReaderStream::with_capacity(file.take(part_length), CHUNK_BYTES)));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(part_length));
    insert_content_range(&mut response, &format!("bytes {first}-{last}/{length}"));
    Ok(response)
}

/// 416: the part that is wanted is after the end.
fn unsatisfiable(length: u64) -> Response {
    let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "M_INVALID_PARAM", "The range is not in the content");
    let mut response = error.into_response();
    insert_content_range(&mut response, &format!("bytes */{length}"));
    response
}

fn insert_content_range(response: &mut Response, range: &str) {
    // It consists of printable ASCII characters.
    if let Ok(range) = HeaderValue::from_str(range) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
}
