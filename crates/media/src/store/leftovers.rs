//! Uploads that an earlier process has left behind.

use std::io;
use std::path::{Path, PathBuf};

use plexus_base::private;
use plexus_store::repo::media_files::{self, MediaFile};
use plexus_store::{Database, DbError};

use crate::paths;
use crate::upload::move_file;

/// Clears the folder for uploads, creating it if it is missing: uploads with a row are moved to their place, all others
/// are deleted. Of another server's media the row may be there, but it can be fetched again.
pub(super) async fn clear(root: &Path, database: &Database) -> io::Result<Result<(), DbError>> {
    let incoming = paths::incoming(root);
    let leftovers = tokio::task::spawn_blocking(move || names(&incoming)).await.map_err(io::Error::other)??;
    for path in leftovers {
        let id = path.file_name().and_then(|name| paths::id_of_upload(name.to_str()?));
        let file = id.map(MediaFile::local);
        let place = file.as_ref().and_then(|file| paths::content_of(root, file));
        let (Some(file), Some(place)) = (file, place) else {
            tokio::fs::remove_file(&path).await?;
            continue;
        };
        match database.read(move |tx| media_files::is_in_use(tx, &file)).await {
            Ok(true) => move_file(&path, &place).await?,
            Ok(false) => tokio::fs::remove_file(&path).await?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// Returns the files in a folder. Blocking.
fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    private::create_folders(folder)?;
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}
