//! A folder as a storage, with the same paths as in the media store.

use std::io;
use std::path::{Path, PathBuf};

use plexus_base::private;
use plexus_store::repo::media_files::MediaFile;
use tokio::fs::{self, DirBuilder, File};
use tokio::io::AsyncReadExt as _;

use super::places;
use crate::error::StorageError;
use crate::upload::Upload;

/// How many bytes are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) struct FileSystem {
    root: PathBuf,
}

impl FileSystem {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Copies `source` into the folder.
    pub(super) async fn store(&self, file: &MediaFile, source: &Path) -> Result<(), StorageError> {
        let (target, _) = places(&self.root, file)?;
        if let Some(folder) = target.parent() {
            let made = DirBuilder::new().recursive(true).mode(private::FOLDER_MODE).create(folder).await;
            made.map_err(io_error(folder))?;
        }
        // Tasks of one storage never run at the same time, and an upload waits for its own file.
        let incomplete = target.with_extension("incomplete");
        let mut from = File::open(source).await.map_err(io_error(source))?;
        let options = private::options().write(true).create(true).truncate(true).to_owned();
        let mut to = fs::OpenOptions::from(options).open(&incomplete).await.map_err(io_error(&incomplete))?;
        tokio::io::copy(&mut from, &mut to).await.map_err(io_error(&incomplete))?;
        to.sync_all().await.map_err(io_error(&incomplete))?;
        fs::rename(&incomplete, &target).await.map_err(io_error(&target))
    }

    /// Appends a file to `upload`. Returns false if there is none.
    pub(super) async fn fetch(&self, file: &MediaFile, upload: &mut Upload) -> Result<bool, StorageError> {
        let (source, _) = places(&self.root, file)?;
        let mut from = match File::open(&source).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(io_error(&source))?,
        };
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut buffer).await.map_err(io_error(&source))?;
            let Some(chunk) = buffer.get(..length).filter(|chunk| !chunk.is_empty()) else { return Ok(true) };
            upload.write(chunk).await?;
        }
    }

    /// Deletes a file and its thumbnails.
    pub(super) async fn delete(&self, file: &MediaFile) -> Result<(), StorageError> {
        // A disk that is not mounted has no file, and deletes none.
        fs::metadata(&self.root).await.map_err(io_error(&self.root))?;
        let (content, thumbnails) = places(&self.root, file)?;
        delete_file(&content).await?;
        delete_folder(&thumbnails).await
    }
}

/// Deletes a file, if it is there.
pub(super) async fn delete_file(path: &Path) -> Result<(), StorageError> {
    unless_missing(fs::remove_file(path).await).map_err(io_error(path))
}

/// Deletes a folder with all that it holds, if it is there.
pub(super) async fn delete_folder(path: &Path) -> Result<(), StorageError> {
    unless_missing(fs::remove_dir_all(path).await).map_err(io_error(path))
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    move |error| StorageError::Io { path, error }
}
