//! Reading parts of files that are not in the folder: for a part, the whole file is not brought back.

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;

use plexus_store::repo::media::Content;
use plexus_store::repo::media_files::MediaFile;
use tokio::fs::File;
use tokio::io::AsyncSeekExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::file_system::FileSystem;
use super::s3::S3;
use super::{Backend, Provider, Storages, key};
use crate::error::StorageError;
use crate::space::Storing;
use crate::upload::UploadFolder;

/// The unit in which the space for parts is counted, in bytes.
const UNIT_BYTES: u64 = 1024 * 1024;
/// The most space on the disk for parts that clients are reading, in units. When it is taken, whole files are brought
/// back, which all readers share.
pub(super) const MAX_UNITS: usize = 1024;

/// A part of a file that is open at the part's first byte.
pub(crate) struct OpenPart {
    pub(crate) file: File,
    /// The space on the disk that it takes, until this is dropped.
    pub(crate) space: Option<OwnedSemaphorePermit>,
}

impl Storages {
    /// Opens a part of a file at the first provider that has the file. Unlike the whole content, a part cannot be
    /// compared with the hash. Returns `None` if no provider has it, or if too many parts are being read.
    pub(crate) async fn open_part(
        &self,
        file: &MediaFile,
        content: &Content,
        part: Range<u64>,
        uploads: &UploadFolder,
    ) -> Result<Option<OpenPart>, StorageError> {
        let mut failure = None;
        for provider in &self.providers {
            let opened = match &provider.backend {
                Backend::FileSystem(folder) => open_copy(folder, file, content, part.start).await,
                Backend::S3(bucket) => self.fetch_part(provider, bucket, file, part.clone(), uploads).await,
            };
            match opened {
                Ok(None) => {}
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    tracing::warn!(storage = provider.name, "media could not be read from this storage: {error}");
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    async fn fetch_part(
        &self,
        provider: &Provider,
        bucket: &S3,
        file: &MediaFile,
        part: Range<u64>,
        uploads: &UploadFolder,
    ) -> Result<Option<OpenPart>, StorageError> {
        let length = part.end.saturating_sub(part.start);
        let units = u32::try_from(length.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let Ok(space) = Arc::clone(&self.space_for_parts).try_acquire_many_owned(units) else { return Ok(None) };
        let storing = if file.server_name.is_none() { Storing::Upload } else { Storing::Copy };
        let _permit = provider.transfers.acquire().await;
        // A client may read slowly: the part waits on the disk, not in memory.
        let mut fetched = uploads.begin_with_limit(storing, length).await?;
        if !bucket.fetch_part(&key(file)?, part, &mut fetched).await? {
            return Ok(None);
        }
        Ok(Some(OpenPart { file: fetched.into_temporary().await?, space: Some(space) }))
    }
}

/// Opens a copy of a file in a folder.
async fn open_copy(
    folder: &FileSystem,
    file: &MediaFile,
    content: &Content,
    first: u64,
) -> Result<Option<OpenPart>, StorageError> {
    let Some(mut opened) = folder.open(file).await? else { return Ok(None) };
    let io = |error| StorageError::Io { path: file.file_id.clone().into(), error };
    if opened.metadata().await.map_err(io)?.len() != content.length {
        tracing::error!("{file:?} is damaged in a storage provider's folder");
        return Ok(None);
    }
    opened.seek(SeekFrom::Start(first)).await.map_err(io)?;
    Ok(Some(OpenPart { file: opened, space: None }))
}
