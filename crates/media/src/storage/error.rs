//! Why a storage could not store, return or delete a file.

use std::io;
use std::path::PathBuf;

use http::StatusCode;
use plexus_net::HttpError;
use plexus_store::DbError;
use plexus_store::repo::media_files::MediaFile;

use crate::error::UploadError;

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
