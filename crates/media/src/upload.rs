//! Content that is being written to the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plexus_base::{Background, private};
use plexus_store::DbError;
use plexus_store::repo::media::Content;
use sha2::{Digest as _, Sha256};
use tokio::fs::{self, DirBuilder, File};
use tokio::io::AsyncWriteExt as _;

use crate::error::{MediaError, UploadError};
use crate::serving;
use crate::space::{CHECK_EVERY_BYTES, FreeSpace, Storing};

/// The uploader's description of the content.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// The Content-Type header.
    pub content_type: Option<String>,
    /// The file name.
    pub upload_name: Option<String>,
}

/// A file that is being written. It cannot be requested until `Upload::keep_as`; it is deleted if this is dropped
/// before the row that names it is written.
#[derive(Debug)]
pub struct Upload {
    file: File,
    path: PathBuf,
    kept: bool,
    length: u64,
    limit: u64,
    hash: Sha256,
    space: Arc<FreeSpace>,
    storing: Storing,
    /// The length at which the free space is checked again.
    check_at: u64,
}

impl Upload {
    /// Creates a file at `path` of at most `limit` bytes, as long as there is enough free space on the disk.
    pub(crate) async fn create(
        path: PathBuf,
        limit: u64,
        space: Arc<FreeSpace>,
        storing: Storing,
    ) -> Result<Self, UploadError> {
        if !space.has_room(storing).await {
            return Err(UploadError::NoSpace);
        }
        let create = move || {
            let file = private::create_new(&path).map_err(|error| UploadError::Io { path: path.clone(), error })?;
            let (file, check_at) = (File::from_std(file), CHECK_EVERY_BYTES);
            Ok(Self { file, path, kept: false, length: 0, limit, hash: Sha256::new(), space, storing, check_at })
        };
        // Runs to its end even when the caller is cancelled; the file is then deleted by being dropped.
        let created = tokio::task::spawn_blocking(create).await;
        created.unwrap_or_else(|panic| Err(UploadError::Io { path: PathBuf::new(), error: io::Error::other(panic) }))
    }

    /// Returns the number of bytes written so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends `bytes`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let length = self.length.saturating_add(bytes.len() as u64);
        if length > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
        }
        if length > self.check_at {
            if !self.space.has_room(self.storing).await {
                return Err(UploadError::NoSpace);
            }
            self.check_at = length.saturating_add(CHECK_EVERY_BYTES);
        }
        self.length = length;
        self.hash.update(bytes);
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| self.io(error))
    }

    /// Makes the content durable under `target`.
    pub(crate) async fn keep_as(mut self, target: &Path) -> Result<Kept, UploadError> {
        self.move_to(target).await.map_err(|error| UploadError::Io { path: target.to_owned(), error })?;
        let sha256 = std::mem::take(&mut self.hash).finalize().to_vec();
        Ok(Kept { length: self.length, sha256, file: self })
    }

    async fn move_to(&mut self, target: &Path) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        if let Some(folder) = target.parent() {
            DirBuilder::new().recursive(true).mode(private::FOLDER_MODE).create(folder).await?;
        }
        fs::rename(&self.path, target).await?;
        target.clone_into(&mut self.path);
        sync_folders(target).await
    }

    fn io(&self, error: io::Error) -> UploadError {
        UploadError::Io { path: self.path.clone(), error }
    }
}

/// Content that is in its final place in the folder, and has no row yet.
#[derive(Debug)]
pub(crate) struct Kept {
    file: Upload,
    /// In bytes.
    length: u64,
    sha256: Vec<u8>,
}

impl Kept {
    /// Returns the description for its row: the uploader's, without control characters.
    pub(crate) fn described(&self, about: Description) -> Content {
        let content_type = about.content_type.filter(|said| !said.chars().any(char::is_control));
        Content {
            content_type: content_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            upload_name: about.upload_name.as_deref().and_then(serving::without_controls),
            length: self.length,
            sha256: self.sha256.clone(),
        }
    }

    /// Writes the row that names the content by `write`, also when the caller is cancelled. If the row is not written,
    /// the content is deleted. `turn` is dropped after that.
    pub(crate) async fn record<T: Send + 'static>(
        self,
        background: &Background,
        write: impl Future<Output = Result<T, MediaError>> + Send + 'static,
        turn: impl Send + 'static,
    ) -> Result<T, MediaError> {
        let recording = background.spawn("storing of media", async move {
            let mut file = self.file;
            let written = write.await;
            // The row may have been written, and needs its content.
            file.kept = match &written {
                Ok(_) => true,
                Err(MediaError::Database(error)) => error.may_be_stored(),
                Err(_) => false,
            };
            drop(file);
            drop(turn);
            written
        });
        recording.await.unwrap_or(Err(MediaError::Database(DbError::Closed)))
    }
}

/// Makes a rename to `target` durable: its folder, and the two that may have been made above it.
async fn sync_folders(target: &Path) -> io::Result<()> {
    for folder in target.ancestors().skip(1).take(3) {
        File::open(folder).await?.sync_all().await?;
    }
    Ok(())
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("media store: cannot delete {}: {error}", self.path.display());
        }
    }
}
