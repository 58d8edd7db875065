//! Content that is being written to the disk.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plexus_base::{Background, Random, private};
use plexus_store::DbError;
use plexus_store::repo::media::Content;
use sha2::{Digest as _, Sha256};
use tokio::fs::{self, DirBuilder, File};
use tokio::io::AsyncWriteExt as _;

use crate::error::{MediaError, UploadError};
use crate::paths;
use crate::serving;
use crate::space::{CHECK_EVERY_BYTES, FreeSpace, Storing};

/// The number of letters of a name in the folder for uploads.
const NAME_LENGTH: usize = 24;
/// How many bytes of a file are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The uploader's description of the content.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// The Content-Type header.
    pub content_type: Option<String>,
    /// The file name.
    pub upload_name: Option<String>,
}

/// The folder for uploads.
pub(crate) struct UploadFolder {
    pub(crate) path: PathBuf,
    /// The most bytes of an upload.
    pub(crate) max_bytes: u64,
    pub(crate) random: Random,
    pub(crate) space: Arc<FreeSpace>,
}

impl UploadFolder {
    /// Begins an upload.
    pub(crate) async fn begin(&self, storing: Storing) -> Result<Upload, UploadError> {
        self.begin_with_limit(storing, self.max_bytes).await
    }

    /// Begins an upload of at most `limit` bytes.
    pub(crate) async fn begin_with_limit(&self, storing: Storing, limit: u64) -> Result<Upload, UploadError> {
        let path = self.path.join(self.random.alphanumeric(NAME_LENGTH));
        Upload::create(path, limit, Arc::clone(&self.space), storing).await
    }
}

/// A file that is being written. It cannot be requested yet, and is deleted if this is dropped before the row that
/// names it is written.
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
    async fn create(path: PathBuf, limit: u64, space: Arc<FreeSpace>, storing: Storing) -> Result<Self, UploadError> {
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

    /// Returns the hash of what was written so far.
    pub(crate) fn sha256(&self) -> Vec<u8> {
        self.hash.clone().finalize().to_vec()
    }

    /// Returns the file with what was written so far, to be read from its start.
    pub(crate) async fn reopen(&mut self) -> Result<std::fs::File, UploadError> {
        let reopened = async {
            self.file.flush().await?;
            Ok(File::open(&self.path).await?.into_std().await)
        };
        let reopened: io::Result<_> = reopened.await;
        reopened.map_err(|error| self.io(error))
    }

    /// Makes the content durable in the folder for uploads, under `name`. If one of `twins` is a file with the same
    /// content, the disk keeps that file under both names, and what was written is deleted: the file system counts the
    /// names of a file, and frees it with the last.
    pub(crate) async fn seal(mut self, name: &str, twins: &[PathBuf]) -> Result<Sealed, UploadError> {
        let target = self.path.with_file_name(name);
        let sealed = async {
            self.file.flush().await?;
            if self.link_twin(twins, &target).await {
                fs::remove_file(&self.path).await?;
            } else {
                self.file.sync_all().await?;
                fs::rename(&self.path, &target).await?;
            }
            target.clone_into(&mut self.path);
            sync_folder(target.parent()).await
        };
        sealed.await.map_err(|error| UploadError::Io { path: target.clone(), error })?;
        Ok(Sealed { length: self.length, sha256: self.sha256(), file: self })
    }

    /// Gives one of `twins` a second name. Returns false if there is none, or the file system cannot do that.
    async fn link_twin(&self, twins: &[PathBuf], target: &Path) -> bool {
        for twin in twins {
            let is_whole = fs::metadata(twin).await.is_ok_and(|twin| twin.len() == self.length);
            if is_whole && self.is_content_of(twin).await && fs::hard_link(twin, target).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Whether the content of a file is what was written so far. A damaged file must not take the place of a good one.
    async fn is_content_of(&self, path: &Path) -> bool {
        let (path, hash) = (path.to_owned(), self.sha256());
        let is_same = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(path)?;
            let (mut of_file, mut buffer) = (Sha256::new(), vec![0; CHUNK_BYTES]);
            loop {
                let length = file.read(&mut buffer)?;
                match buffer.get(..length).filter(|chunk| !chunk.is_empty()) {
                    Some(chunk) => of_file.update(chunk),
                    None => return Ok::<_, io::Error>(of_file.finalize().as_slice() == hash),
                }
            }
        });
        is_same.await.is_ok_and(|is_same| is_same.unwrap_or(false))
    }

    /// Makes the content durable, and moves it to `target`.
    pub(crate) async fn keep_as(mut self, target: &Path) -> Result<(), UploadError> {
        let kept = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            move_file(&self.path, target).await?;
            self.kept = true;
            sync_folder(target.parent()).await
        };
        kept.await.map_err(|error| UploadError::Io { path: target.to_owned(), error })
    }

    /// Returns what was written as an open file without a name, which the file system frees when it is closed.
    pub(crate) async fn into_temporary(mut self) -> Result<File, UploadError> {
        self.file.flush().await.map_err(|error| self.io(error))?;
        File::open(&self.path).await.map_err(|error| self.io(error))
    }

    /// Whether this has the name of local content that is sealed.
    fn is_local(&self) -> bool {
        self.path.file_name().and_then(|name| paths::id_of_upload(name.to_str()?)).is_some()
    }

    fn io(&self, error: io::Error) -> UploadError {
        UploadError::Io { path: self.path.clone(), error }
    }
}

/// Content that is durable in the folder for uploads, and has no row yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: Upload,
    /// In bytes.
    length: u64,
    sha256: Vec<u8>,
}

impl Sealed {
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

    /// Writes the row that names the content by `write`, and then moves the content to `target`, also when the caller
    /// is cancelled. If the row is not written, the content is deleted. `turn` is dropped after that.
    ///
    /// A process that ends in between leaves the content in the folder for uploads, where the next one finds it. Local
    /// content is found there by every download, so its upload does not fail if it cannot be moved.
    pub(crate) async fn record<T: Send + 'static>(
        self,
        background: &Background,
        write: impl Future<Output = Result<T, MediaError>> + Send + 'static,
        target: PathBuf,
        turn: impl Send + 'static,
    ) -> Result<T, MediaError> {
        let recording = background.spawn("storing of media", async move {
            let mut file = self.file;
            let mut written = write.await;
            // The row may have been written, and needs its content.
            file.kept = match &written {
                Ok(_) => true,
                Err(MediaError::Database(error)) => error.may_be_stored(),
                Err(_) => false,
            };
            if written.is_ok()
                && let Err(error) = move_file(&file.path, &target).await
            {
                if !file.is_local() {
                    file.kept = false;
                    written = Err(MediaError::Io { path: target, error });
                } else if !fs::try_exists(&target).await.unwrap_or(false) {
                    tracing::error!("media store: {} is not at its place yet: {error}", target.display());
                }
            }
            drop(file);
            drop(turn);
            written
        });
        recording.await.unwrap_or(Err(MediaError::Database(DbError::Closed)))
    }
}

/// Moves a file into a folder, which is made if necessary. If both names are of one file, which a rename does not
/// change (POSIX), the first is removed.
pub(crate) async fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        DirBuilder::new().recursive(true).mode(private::FOLDER_MODE).create(folder).await?;
    }
    fs::rename(from, to).await?;
    match fs::remove_file(from).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) async fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    match folder {
        Some(folder) => File::open(folder).await?.sync_all().await,
        None => Ok(()),
    }
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
