//! A folder as a storage, with the same paths as in the media store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use plexus_base::private;
use plexus_store::Database;
use plexus_store::repo::media_files::{self, MediaFile};
use tokio::fs::{self, DirBuilder, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::places;
use crate::error::StorageError;
use crate::upload::{Upload, sync_folder};

/// How many bytes are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The file in a folder that shows that its disk is mounted.
const MARKER: &str = ".plexus-storage";
const MARKER_TEXT: &str =
    "While this file is missing, Plexus stores and deletes no media here: the disk may not be mounted.\n";

pub(super) struct FileSystem {
    root: PathBuf,
    /// Its name among the storages.
    name: String,
    database: Database,
    /// Whether the database knows that the folder has a marker.
    is_recorded: AtomicBool,
}

impl FileSystem {
    pub(super) fn new(root: PathBuf, name: String, database: Database) -> Self {
        Self { root, name, database, is_recorded: AtomicBool::new(false) }
    }

    /// Returns whether the folder has a marker, which is there after the first use.
    ///
    /// # Errors
    /// [`StorageError::NotMounted`] if it had one before.
    async fn has_marker(&self) -> Result<bool, StorageError> {
        let marker = self.root.join(MARKER);
        if fs::try_exists(&marker).await.map_err(io_error(&marker))? {
            return Ok(true);
        }
        let name = self.name.clone();
        if self.database.read(move |tx| media_files::is_folder_in_use(tx, &name)).await? {
            return Err(StorageError::NotMounted(marker));
        }
        Ok(false)
    }

    /// Gives the folder a marker, if it has never had one.
    async fn mark(&self) -> Result<(), StorageError> {
        if !self.has_marker().await? {
            let marker = self.root.join(MARKER);
            let options = private::options().write(true).create(true).truncate(true).to_owned();
            let mut file = fs::OpenOptions::from(options).open(&marker).await.map_err(io_error(&marker))?;
            file.write_all(MARKER_TEXT.as_bytes()).await.map_err(io_error(&marker))?;
            file.sync_all().await.map_err(io_error(&marker))?;
        }
        if !self.is_recorded.load(Ordering::Relaxed) {
            let name = self.name.clone();
            self.database.write(move |tx| media_files::set_folder_in_use(tx, &name)).await?;
            self.is_recorded.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies `source` into the folder.
    pub(super) async fn store(&self, file: &MediaFile, source: &Path) -> Result<(), StorageError> {
        let (target, _) = places(&self.root, file)?;
        if !self.has_marker().await? {
            let made = DirBuilder::new().recursive(true).mode(private::FOLDER_MODE).create(&self.root).await;
            made.map_err(io_error(&self.root))?;
        }
        self.mark().await?;
        if let Some(folder) = target.parent() {
            let made = DirBuilder::new().recursive(true).mode(private::FOLDER_MODE).create(folder).await;
            made.map_err(io_error(folder))?;
        }
        // Only one call at a time has this file.
        let incomplete = target.with_extension("incomplete");
        let mut from = File::open(source).await.map_err(io_error(source))?;
        let options = private::options().write(true).create(true).truncate(true).to_owned();
        let mut to = fs::OpenOptions::from(options).open(&incomplete).await.map_err(io_error(&incomplete))?;
        tokio::io::copy(&mut from, &mut to).await.map_err(io_error(&incomplete))?;
        to.sync_all().await.map_err(io_error(&incomplete))?;
        fs::rename(&incomplete, &target).await.map_err(io_error(&target))?;
        // Before the queue forgets it.
        sync_folder(target.parent()).await.map_err(io_error(&target))
    }

    /// Opens a file. Returns `None` if there is none.
    pub(super) async fn open(&self, file: &MediaFile) -> Result<Option<File>, StorageError> {
        let (source, _) = places(&self.root, file)?;
        self.has_marker().await?;
        match File::open(&source).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => Ok(Some(opened.map_err(io_error(&source))?)),
        }
    }

    /// Appends a file to `upload`. Returns false if there is none.
    pub(super) async fn fetch(&self, file: &MediaFile, upload: &mut Upload) -> Result<bool, StorageError> {
        let (source, _) = places(&self.root, file)?;
        let Some(mut from) = self.open(file).await? else { return Ok(false) };
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut buffer).await.map_err(io_error(&source))?;
            let Some(chunk) = buffer.get(..length).filter(|chunk| !chunk.is_empty()) else { return Ok(true) };
            upload.write(chunk).await?;
        }
    }

    /// Deletes a file and its thumbnails.
    pub(super) async fn delete(&self, file: &MediaFile) -> Result<(), StorageError> {
        self.mark().await?;
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
