//! Why media cannot be stored, fetched or served.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use plexus_base::LimitExceeded;
use plexus_net::{FederationError, HttpError, PolicyRefusal};
use plexus_store::DbError;
use plexus_store::repo::media_files::MediaFile;

use crate::multipart::NotMultipart;
use crate::settings::UploadLimit;
use crate::thumbnail::ThumbnailError;

/// Why media cannot be stored or served.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// There is no such media.
    #[error("no such media")]
    NotFound,
    /// The id is reserved, and nothing has been uploaded to it yet.
    #[error("nothing has been uploaded to this id yet")]
    NotYetUploaded,
    /// Content was uploaded to the id before.
    #[error("content was uploaded to this id before")]
    CannotOverwrite,
    /// The id was reserved by another user.
    #[error("this id is not yours")]
    NotYours,
    /// The user holds too many ids to which nothing was uploaded.
    #[error("too many ids that nothing was uploaded to; the first expires in {retry_after_ms} ms")]
    TooManyPending {
        /// When the first of them expires.
        retry_after_ms: u64,
    },
    /// The user has uploaded as much as this quota allows.
    #[error("more than {} bytes within {:?}", .0.max_bytes, .0.period)]
    UploadLimit(Box<UploadLimit>),
    /// The disk is nearly full.
    #[error("the disk of the media store is nearly full")]
    NoSpace {
        /// How to reach the administrator.
        admin_contact: Option<String>,
    },
    /// A policy hook refuses the file.
    #[error(transparent)]
    Refused(Box<PolicyRefusal>),
    /// The content could not be stored.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The thumbnail could not be made.
    #[error(transparent)]
    Thumbnail(#[from] ThumbnailError),
    /// The media of another server could not be fetched.
    #[error("media of another server: {0}")]
    Fetch(Arc<FetchError>),
    /// The folder of the media store could not be read or written.
    #[error("media store: {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A storage provider, which may have the content, failed.
    #[error("storage provider: {0}")]
    Storage(#[from] StorageError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why the content of an upload was not stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The content is larger than allowed.
    #[error("content is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes.
        limit: u64,
    },
    /// The disk is nearly full.
    #[error("the disk of the media store is nearly full (media_min_free_space)")]
    NoSpace,
    /// The folder of the media store could not be read or written.
    #[error("media store: {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// Why a storage could not store, return or delete a file.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A file could not be read, written or deleted.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file, which media has, is not in the folder of the media store.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    /// The folder is not the one that was used before.
    #[error("there is no {}: is the disk mounted? If this is another disk, make an empty file there", .0.display())]
    NotMounted(PathBuf),
    /// The file could not be written to the folder of the media store.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The S3 server could not be reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The S3 server refused the request.
    #[error("{status} {code}")]
    Refused {
        /// The status of the response.
        status: StatusCode,
        /// The code in its body.
        code: String,
    },
    /// The response of the S3 server has not the form that it should have.
    #[error("the response does not say {0}")]
    Response(&'static str),
    /// The address of the S3 server or a header of the request is not valid.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    /// The file's name cannot be part of a path.
    #[error("{0:?} cannot be a path")]
    BadName(MediaFile),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why media of another server could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The request to the other server failed.
    #[error(transparent)]
    Server(#[from] FederationError),
    /// The response is not multipart.
    #[error(transparent)]
    Answer(#[from] NotMultipart),
    /// The response ended before the content did.
    #[error("the answer broke off")]
    BrokeOff,
    /// It took too long.
    #[error("the content did not arrive in time")]
    TooSlow,
    /// It could not be fetched a moment ago, and was not requested again.
    #[error("the media could not be fetched a moment ago ({0:?})")]
    Before(Failure),
    /// The downloader has fetched enough for now (`remote_media_download_per_second`), or too many fetches are in
    /// progress.
    #[error("too much media of other servers is being fetched")]
    LimitExceeded {
        /// When to try again, in ms.
        retry_after_ms: u64,
    },
    /// This server could not store it.
    #[error(transparent)]
    Media(#[from] Box<MediaError>),
    /// The task that fetched it ended without a result.
    #[error("the fetch was given up")]
    Abandoned,
}

impl From<LimitExceeded> for FetchError {
    fn from(LimitExceeded { retry_after }: LimitExceeded) -> Self {
        Self::LimitExceeded { retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1) }
    }
}

/// Why media could not be fetched a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its server does not have it, or refuses to return it.
    NotFound,
    /// It is larger than this server stores.
    TooLarge,
    /// Its server did not respond, or responded with something else.
    Unavailable,
}
