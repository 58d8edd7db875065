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
    CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use plexus_base::config::Config;
use plexus_http::ApiError;
use plexus_http::media::{DownloadQuery, ThumbnailQuery, media_error};
use plexus_media::{ByteRange, Downloader, Downloads, MediaHead, OpenMedia, Wanted, serving};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::{InspectReader, ReaderStream};

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
    if conditions.may_need_less() {
        // A storage provider may have the content: it is not fetched for the headers, nor the whole for a part.
        let mut head = media.head(wanted).await.map_err(media_error)?;
        head.upload_name = file_name.clone().or(head.upload_name);
        if let Some(response) = without_content(&head, conditions) {
            return Ok(response);
        }
        if let ByteRange::Part { first, last } = conditions.part(&head)
            && last - first + 1 < head.length
        {
            let open = media.part(wanted, first..last + 1).await.map_err(media_error)?;
            let mut response = part(open, first..=last);
            insert_headers(&mut response, &head);
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
    /// If-Match.
    wanted_tags: Option<String>,
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
        // Several lines are one list.
        let list = |name| {
            let lines: Vec<&str> = parts.headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
            (!lines.is_empty()).then(|| lines.join(","))
        };
        Ok(Self {
            is_head: parts.method == Method::HEAD,
            wanted_tags: list(IF_MATCH),
            known_tags: list(IF_NONE_MATCH),
            range: header(RANGE).filter(|_| parts.method == Method::GET),
            range_of: header(IF_RANGE),
        })
    }
}

impl Conditions {
    /// Whether the headers may be enough, or a part of the content.
    fn may_need_less(&self) -> bool {
        self.is_head || self.wanted_tags.is_some() || self.known_tags.is_some() || self.range.is_some()
    }

    /// Whether the client wants the content only if it has another tag (RFC 9110, section 13.1.1).
    fn wants_another(&self, tag: &str) -> bool {
        let is_wanted = |wanted: &str| wanted == "*" || wanted == tag;
        self.wanted_tags.as_deref().is_some_and(|tags| !tags.split(',').any(|wanted| is_wanted(wanted.trim())))
    }

    /// Whether the client has the content with this tag (RFC 9110, section 13.1.2).
    fn is_known(&self, tag: &str) -> bool {
        let is_known = |known: &str| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag;
        self.known_tags.as_deref().is_some_and(|tags| tags.split(',').any(|known| is_known(known.trim())))
    }

    /// Returns the part that is wanted. With If-Range it is wanted only of the content with that tag; a date is that of
    /// no content (section 13.1.5).
    fn part(&self, head: &MediaHead) -> ByteRange {
        match &self.range {
            Some(range) if self.range_of.as_ref().is_none_or(|wanted| wanted.trim() == etag(head)) => {
                ByteRange::select(range, head.length)
            }
            _ => ByteRange::Whole,
        }
    }
}

async fn respond(mut open: OpenMedia, conditions: &Conditions) -> Result<Response, ApiError> {
    if let Some(response) = without_content(&open.head, conditions) {
        return Ok(response);
    }
    let head = open.head.clone();
    let mut response = match conditions.part(&head) {
        ByteRange::Part { first, last } => {
            open.file.seek(SeekFrom::Start(first)).await.map_err(|error| ApiError::internal(&error))?;
            part(open, first..=last)
        }
        _ => whole(open),
    };
    insert_headers(&mut response, &head);
    Ok(response)
}

/// Returns the response to a request that needs no content: because of its method, because the client has it or wants
/// another, or because it does not have the part that is wanted.
fn without_content(head: &MediaHead, conditions: &Conditions) -> Option<Response> {
    let tag = etag(head);
    if conditions.wants_another(&tag) {
        let error = "The content does not have the entity tag that the request names";
        return Some(ApiError::new(StatusCode::PRECONDITION_FAILED, "M_UNKNOWN", error).into_response());
    }
    let mut response = if conditions.is_known(&tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if conditions.is_head {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(head.length));
        response
    } else if conditions.part(head) == ByteRange::Unsatisfiable {
        return Some(unsatisfiable(head.length));
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

/// Returns a response with the whole content.
fn whole(open: OpenMedia) -> Response {
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(open.file, CHUNK_BYTES)));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(open.head.length));
    response
}

/// Returns a response with the part of the content at whose beginning the file is open.
fn part(open: OpenMedia, part: RangeInclusive<u64>) -> Response {
    let OpenMedia { head, file, space } = open;
    let (first, last) = part.into_inner();
    let length = last.saturating_sub(first).saturating_add(1);
    // It holds the space until the response is sent.
    let content = InspectReader::new(file.take(length), move |_| _ = &space);
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(content, CHUNK_BYTES)));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    insert_content_range(&mut response, &format!("bytes {first}-{last}/{}", head.length));
    response
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
