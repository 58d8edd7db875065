//! The parts that the media endpoints of clients and of other servers share.

use std::time::Duration;

use http::StatusCode;
use plexus_media::{
    Failure, FetchError, MediaError, Method, ThumbnailError, ThumbnailRequest, UploadError, UploadLimit,
};
use plexus_net::FederationError;
use serde::Deserialize;

use crate::ApiError;
use crate::federation::federation_error;
use crate::room_errors::policy_refusal;

/// The specification's default for how long to wait for content that is still being uploaded, and Synapse's bound, in
/// ms.
const DEFAULT_TIMEOUT_MS: u64 = 20_000;
const MAX_TIMEOUT_MS: u64 = 60_000;

/// The query of a download.
#[derive(Deserialize)]
pub struct DownloadQuery {
    timeout_ms: Option<u64>,
    allow_remote: Option<bool>,
}

/// The query of a thumbnail.
#[derive(Deserialize)]
pub struct ThumbnailQuery {
    width: u32,
    height: u32,
    method: Option<String>,
    animated: Option<bool>,
    timeout_ms: Option<u64>,
    allow_remote: Option<bool>,
}

impl DownloadQuery {
    /// Returns how long to wait for content that is still being uploaded.
    pub fn timeout(&self) -> Duration {
        timeout(self.timeout_ms)
    }

    /// Whether another server may be asked.
    pub fn allow_remote(&self) -> bool {
        self.allow_remote.unwrap_or(true)
    }
}

impl ThumbnailQuery {
    /// Returns how long to wait for content that is still being uploaded.
    pub fn timeout(&self) -> Duration {
        timeout(self.timeout_ms)
    }

    /// Whether another server may be asked.
    pub fn allow_remote(&self) -> bool {
        self.allow_remote.unwrap_or(true)
    }

    /// Returns the thumbnail that is wanted.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` for an unknown method.
    pub fn request(&self) -> Result<ThumbnailRequest, ApiError> {
        let method = match self.method.as_deref() {
            None | Some("scale") => Method::Scale,
            Some("crop") => Method::Crop,
            Some(other) => {
                return Err(ApiError::invalid_param(format!("method must be crop or scale, not {other:?}")));
            }
        };
        Ok(ThumbnailRequest {
            width: self.width,
            height: self.height,
            method,
            animated: self.animated.unwrap_or(false),
        })
    }
}

fn timeout(timeout_ms: Option<u64>) -> Duration {
    Duration::from_millis(timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS).min(MAX_TIMEOUT_MS))
}

/// 413: an upload is larger than `limit` bytes.
pub fn upload_too_large(limit: u64) -> ApiError {
    ApiError::too_large(format!("Uploads may have {limit} bytes at most"))
}

/// 403: the user has uploaded enough for now (`media_upload_limits`; MSC4335 when there is a page about it).
fn upload_limit(limit: UploadLimit) -> ApiError {
    let text = "You have uploaded as much as you may for now";
    match limit.info_uri {
        None => ApiError::forbidden(text),
        Some(info_uri) => ApiError::new(StatusCode::FORBIDDEN, "M_USER_LIMIT_EXCEEDED", text)
            .with("info_uri", info_uri)
            .with("can_upgrade", limit.can_upgrade),
    }
}

/// 507: the disk is nearly full (client-server API, "Other error codes").
fn no_space(admin_contact: Option<String>) -> ApiError {
    let text = "The server has no room left for media";
    let error = ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "M_RESOURCE_LIMIT_EXCEEDED", text);
    match admin_contact {
        None => error,
        Some(admin_contact) => error.with("admin_contact", admin_contact),
    }
}

/// Returns the client's error for an error of the media store.
pub fn media_error(error: MediaError) -> ApiError {
    match error {
        MediaError::NotFound => ApiError::not_found("No such media"),
        MediaError::NotYetUploaded => {
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED", "The media has not been uploaded yet")
        }
        MediaError::CannotOverwrite => {
            ApiError::new(StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA", "The media has been uploaded already")
        }
        MediaError::Refused(refusal) => policy_refusal(*refusal),
        MediaError::NotYours => ApiError::forbidden("The media id was handed out to somebody else"),
        MediaError::TooManyPending { retry_after_ms } => ApiError::limit_exceeded(retry_after_ms),
        MediaError::Upload(UploadError::TooLarge { limit }) => upload_too_large(limit),
        MediaError::UploadLimit(limit) => upload_limit(*limit),
        MediaError::NoSpace { admin_contact } => no_space(admin_contact),
        MediaError::Upload(UploadError::NoSpace) => no_space(None),
        MediaError::Thumbnail(ThumbnailError::NotAnImage) => {
            ApiError::unknown("There are no thumbnails of this kind of media")
        }
        MediaError::Thumbnail(ThumbnailError::TooManyPixels { limit, .. }) => {
            ApiError::too_large(format!("There are no thumbnails of images with more than {limit} pixels"))
        }
        MediaError::Thumbnail(ThumbnailError::Unreadable(_)) => ApiError::unknown("The image cannot be read"),
        MediaError::Fetch(error) => fetch_error(&error),
        MediaError::Storage(_) => {
            ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", "The storage that has this media fails at the moment")
        }
        MediaError::Database(error) => error.into(),
        MediaError::Thumbnail(_) | MediaError::Upload(_) | MediaError::Io { .. } => ApiError::internal(&error),
    }
}

/// Returns the client's error for media of another server that could not be fetched.
fn fetch_error(error: &FetchError) -> ApiError {
    match error {
        FetchError::Server(FederationError::Status { status: StatusCode::GATEWAY_TIMEOUT, errcode, .. })
            if errcode.as_deref() == Some("M_NOT_YET_UPLOADED") =>
        {
            media_error(MediaError::NotYetUploaded)
        }
        FetchError::Server(FederationError::TooLarge { .. }) => too_large_elsewhere(),
        FetchError::Server(error) => federation_error(error),
        FetchError::Media(error) => match &**error {
            MediaError::Upload(UploadError::TooLarge { .. }) => too_large_elsewhere(),
            MediaError::Upload(UploadError::NoSpace) => no_space(None),
            MediaError::Refused(refusal) => policy_refusal((**refusal).clone()),
            error => ApiError::internal(error),
        },
        FetchError::LimitExceeded { retry_after_ms } => ApiError::limit_exceeded(*retry_after_ms),
        FetchError::Before(Failure::NotFound) => ApiError::not_found("The other server does not have it"),
        FetchError::Before(Failure::TooLarge) => too_large_elsewhere(),
        FetchError::Before(Failure::Unavailable)
        | FetchError::Answer(_)
        | FetchError::BrokeOff
        | FetchError::TooSlow
        | FetchError::Abandoned => {
            ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", "The media could not be fetched from its server")
        }
    }
}

fn too_large_elsewhere() -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", "The media is larger than this server fetches")
}
