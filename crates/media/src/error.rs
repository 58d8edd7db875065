//! Why media cannot be stored, fetched or served.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use plexus_base::LimitExceeded;
use plexus_net::FederationError;
use plexus_store::DbError;

use crate::multipart::NotMultipart;
use crate::settings::UploadLimit;
use crate::thumbnail::ThumbnailError;

/// Why media can't be had or stored.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("no such media")]
    NotFound,
    #[error("nothing has been uploaded to this id yet")]
    NotYetUploaded,
    #[error("content was uploaded to this id before")]
    CannotOverwrite,
    #[error("this id is not yours")]
    NotYours,
    #[error("too many ids that nothing was uploaded to; the first expires in {retry_after_ms} ms")]
    TooManyPending { retry_after_ms: u64 },
    #[error("more than {} bytes within {:?}", .0.max_bytes, .0.period)]
    UploadLimit(Box<UploadLimit>),
    #[error("the disk of the media store is nearly full")]
    NoSpace { admin_contact: Option<String> },
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Thumbnail(#[from] ThumbnailError),
    #[error("media of another server: {0}")]
    Fetch(Arc<FetchError>),
    #[error("media store: {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why content could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("content is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the disk of the media store is nearly full (media_min_free_space)")]
    NoSpace,
    #[error("media store: {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Why media of another server can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The other server.
    #[error(transparent)]
    Server(#[from] FederationError),
    /// It answered with something else.
    #[error(transparent)]
    Answer(#[from] NotMultipart),
    /// The answer ended before the content did.
    #[error("the answer broke off")]
    BrokeOff,
    /// It took too long.
    #[error("the content did not arrive in time")]
    TooSlow,
    /// It could not be fetched a moment ago, and was not asked for again.
    #[error("the media could not be fetched a moment ago ({0:?})")]
    Before(Failure),
    /// The downloader has had enough for now (`remote_media_download_per_second`), or too many fetches are under way.
    #[error("too much media of other servers is being fetched")]
    LimitExceeded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// This side could not keep it.
    #[error(transparent)]
    Media(#[from] Box<MediaError>),
    /// The task that fetched it is gone.
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
    /// Its server has no such media, or will not give it.
    NotFound,
    /// It is larger than this server takes.
    TooLarge,
    /// Its server did not answer, or with something else.
    Unavailable,
}
