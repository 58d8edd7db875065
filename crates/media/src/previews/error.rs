//! Why there is no preview.

use std::sync::Arc;

use plexus_net::HttpError;
use plexus_net::http::{ConnectError, DialError};
use url::{Host, Url};

use crate::error::{MediaError, UploadError};

/// Why there is no preview of a page.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PreviewError {
    /// Links are not previewed (`url_preview_enabled`).
    #[error("previews are disabled")]
    Disabled,
    /// It is not a URL.
    #[error("it is not a URL that can be requested")]
    NotAUrl,
    /// Only http and https are requested.
    #[error("URLs of this scheme are not previewed: {0}")]
    Scheme(String),
    /// `url_preview_url_blacklist` names the URL.
    #[error("url_preview_url_blacklist forbids the URL")]
    UrlForbidden,
    /// `url_preview_ip_range_blacklist` names the address in the URL.
    #[error("url_preview_ip_range_blacklist forbids the address")]
    AddressForbidden,
    /// The host's name has no address, or only forbidden ones.
    #[error("the host has no address that may be connected to")]
    NoAddress,
    /// The response has an error status.
    #[error("the page has the status {0}")]
    Status(u16),
    /// The response is of a kind that is not previewed.
    #[error("content of this type is not previewed: {0}")]
    ContentType(String),
    /// The content is larger than `max_spider_size`.
    #[error("the content is larger than {0} bytes")]
    TooLarge(u64),
    /// The content did not arrive in time.
    #[error("the content did not arrive in time")]
    TooSlow,
    /// There was no response, or it cannot be read.
    #[error("the page could not be downloaded: {0}")]
    Failed(String),
    /// Too many pages are being downloaded.
    #[error("too many pages are being downloaded")]
    Busy {
        /// When to try again, in ms.
        retry_after_ms: u64,
    },
    /// The server stops.
    #[error("the preview was given up")]
    Abandoned,
    /// This server could not store the preview.
    #[error("the preview could not be stored: {0}")]
    Media(Arc<MediaError>),
}

/// The most characters of a site's own text in an error.
const MAX_TEXT_CHARS: usize = 100;

impl PreviewError {
    /// Returns the error of a response with this Content-Type.
    pub(super) fn of_content_type(content_type: &str) -> Self {
        Self::ContentType(content_type.chars().take(MAX_TEXT_CHARS).collect())
    }

    /// Returns the error of a URL with this scheme.
    pub(super) fn of_scheme(scheme: &str) -> Self {
        Self::Scheme(scheme.chars().take(MAX_TEXT_CHARS).collect())
    }

    /// Returns the error of a download that failed for this reason.
    pub(super) fn failed(reason: &str) -> Self {
        Self::Failed(reason.chars().take(MAX_TEXT_CHARS).collect())
    }

    /// Returns the error of a request to `url`.
    pub(super) fn of_request(url: &Url, error: &HttpError) -> Self {
        let is_address = !matches!(url.host(), Some(Host::Domain(_)));
        match error {
            HttpError::Connect(ConnectError::Dial(DialError::Forbidden(_))) if is_address => Self::AddressForbidden,
            HttpError::Connect(ConnectError::Dial(
                DialError::Forbidden(_) | DialError::NoAddress(_) | DialError::Lookup { .. },
            )) => Self::NoAddress,
            HttpError::TooLarge(limit) => Self::TooLarge(*limit as u64),
            HttpError::Timeout => Self::TooSlow,
            error => Self::failed(&error.to_string()),
        }
    }

    /// Whether another request is likely to fail in the same way.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self, Self::Disabled | Self::Busy { .. } | Self::Abandoned | Self::Media(_))
    }
}

impl<E: Into<MediaError>> From<E> for PreviewError {
    fn from(error: E) -> Self {
        match error.into() {
            MediaError::Upload(UploadError::TooLarge { limit }) => Self::TooLarge(limit),
            error => Self::Media(Arc::new(error)),
        }
    }
}
