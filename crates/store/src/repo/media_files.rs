//! The files of media, and what storages still have to do with them.

use crate::db::ToSql as _;
use crate::{DbError, Row, Tx, first};

/// How many files with the same content are looked for: one of them is likely to be in the folder.
const MAX_TWINS: u32 = 4;

/// A file of media, in any storage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaFile {
    /// The server that the media is of; `None` for media that was uploaded here.
    pub server_name: Option<String>,
    /// The media id of local media; the file id of another server's.
    pub file_id: String,
}

impl MediaFile {
    /// Creates the file of media that was uploaded here.
    pub fn local(media_id: &str) -> Self {
        Self { server_name: None, file_id: media_id.to_owned() }
    }

    /// Creates a file of media that was fetched from another server.
    pub fn remote(server_name: &str, file_id: &str) -> Self {
        Self { server_name: Some(server_name.to_owned()), file_id: file_id.to_owned() }
    }

    /// Returns the server's name as it is stored.
    fn server(&self) -> &str {
        self.server_name.as_deref().unwrap_or("")
    }

    fn read(row: &Row<'_>) -> Result<Self, DbError> {
        let server_name = Some(row.get::<String>(0)?).filter(|name| !name.is_empty());
        Ok(Self { server_name, file_id: row.get(1)? })
    }
}

/// What a storage has to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAction {
    /// Store the content.
    Store,
    /// Delete the content and its thumbnails.
    Delete,
}

/// Returns files with this content, some of them if there are many.
pub fn with_hash(tx: &mut Tx<'_>, sha256: &[u8]) -> Result<Vec<MediaFile>, DbError> {
    let mut files = tx.query(
        "SELECT media_id FROM local_media WHERE sha256 = $1 ORDER BY created_ms DESC LIMIT $2",
        &[&sha256, &MAX_TWINS],
        |row| Ok(MediaFile { server_name: None, file_id: row.get(0)? }),
    )?;
    files.extend(tx.query(
        "SELECT server_name, file_id FROM remote_media WHERE sha256 = $1 ORDER BY fetched_ms DESC LIMIT $2",
        &[&sha256, &MAX_TWINS],
        MediaFile::read,
    )?);
    Ok(files)
}

/// Whether media has this file.
pub fn is_in_use(tx: &mut Tx<'_>, file: &MediaFile) -> Result<bool, DbError> {
    let found = match &file.server_name {
        None => tx.query_one(
            "SELECT COUNT(*) FROM local_media WHERE media_id = $1 AND content_type IS NOT NULL",
            &[&file.file_id],
            first::<u64>,
        )?,
        Some(server_name) => tx.query_one(
            "SELECT COUNT(*) FROM remote_media WHERE server_name = $1 AND file_id = $2",
            &[server_name, &file.file_id],
            first::<u64>,
        )?,
    };
    Ok(found > 0)
}

/// Records what `storage` has to do with `files`, in place of an earlier action.
pub fn enqueue(
    tx: &mut Tx<'_>,
    storage: &str,
    files: &[MediaFile],
    action: FileAction,
    due_ms: u64,
) -> Result<(), DbError> {
    let is_deletion = i64::from(action == FileAction::Delete);
    tx.insert_many(
        "INSERT INTO media_file_queue (storage, server_name, file_id, is_deletion, due_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (storage, server_name, file_id) DO UPDATE SET is_deletion = excluded.is_deletion,
         due_ms = excluded.due_ms",
        files.iter().map(|file| {
            [
                storage.to_param(),
                file.server().to_param(),
                file.file_id.to_param(),
                is_deletion.to_param(),
                due_ms.to_param(),
            ]
        }),
    )?;
    Ok(())
}

/// Returns what is due in `storage`, the oldest first, at most `limit` files.
pub fn due(tx: &mut Tx<'_>, storage: &str, now_ms: u64, limit: u32) -> Result<Vec<(MediaFile, FileAction)>, DbError> {
    tx.query(
        "SELECT server_name, file_id, is_deletion FROM media_file_queue WHERE storage = $1 AND due_ms <= $2
         ORDER BY due_ms LIMIT $3",
        &[&storage, &now_ms, &limit],
        |row| {
            let action = if row.get::<i64>(2)? == 0 { FileAction::Store } else { FileAction::Delete };
            Ok((MediaFile::read(row)?, action))
        },
    )
}

/// Whether `storage` still has to do `action` with a file.
pub fn is_queued(tx: &mut Tx<'_>, storage: &str, file: &MediaFile, action: FileAction) -> Result<bool, DbError> {
    let found: u64 = tx.query_one(
        "SELECT COUNT(*) FROM media_file_queue
         WHERE storage = $1 AND server_name = $2 AND file_id = $3 AND is_deletion = $4",
        &[&storage, &file.server(), &file.file_id, &i64::from(action == FileAction::Delete)],
        first,
    )?;
    Ok(found > 0)
}

/// Records that `storage` has done `action`. Another action that was recorded meanwhile stays.
pub fn done(tx: &mut Tx<'_>, storage: &str, file: &MediaFile, action: FileAction) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM media_file_queue
         WHERE storage = $1 AND server_name = $2 AND file_id = $3 AND is_deletion = $4",
        &[&storage, &file.server(), &file.file_id, &i64::from(action == FileAction::Delete)],
    )?;
    Ok(())
}

/// Postpones what `storage` has to do with a file.
pub fn postpone(tx: &mut Tx<'_>, storage: &str, file: &MediaFile, due_ms: u64) -> Result<(), DbError> {
    tx.execute_later(
        "UPDATE media_file_queue SET due_ms = $4 WHERE storage = $1 AND server_name = $2 AND file_id = $3",
        &[&storage, &file.server(), &file.file_id, &due_ms],
    )?;
    Ok(())
}

/// Returns when the next action in `storage` is due, in Unix ms.
pub fn next_due(tx: &mut Tx<'_>, storage: &str) -> Result<Option<u64>, DbError> {
    tx.query_one("SELECT MIN(due_ms) FROM media_file_queue WHERE storage = $1", &[&storage], first)
}

/// Returns how many files each storage still has to store or to delete.
pub fn queue_lengths(tx: &mut Tx<'_>) -> Result<Vec<(String, u64)>, DbError> {
    tx.query("SELECT storage, COUNT(*) FROM media_file_queue GROUP BY storage ORDER BY storage", &[], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Records that the folder of `storage` is in use.
pub fn set_folder_in_use(tx: &mut Tx<'_>, storage: &str) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO storage_folders (storage) VALUES ($1) ON CONFLICT (storage) DO NOTHING",
        &[&storage],
    )?;
    Ok(())
}

/// Whether the folder of `storage` has been used before.
pub fn is_folder_in_use(tx: &mut Tx<'_>, storage: &str) -> Result<bool, DbError> {
    let found: u64 = tx.query_one("SELECT COUNT(*) FROM storage_folders WHERE storage = $1", &[&storage], first)?;
    Ok(found > 0)
}

/// Records when media was last requested, if that is later than what is recorded.
pub fn set_last_access(tx: &mut Tx<'_>, accesses: &[(MediaFile, u64)]) -> Result<(), DbError> {
    let local = accesses.iter().filter(|(file, _)| file.server_name.is_none());
    tx.insert_many(
        "UPDATE local_media SET last_access_ms = $2 WHERE media_id = $1 AND last_access_ms < $2",
        local.map(|(file, at_ms)| [file.file_id.to_param(), at_ms.to_param()]),
    )?;
    let remote = accesses.iter().filter(|(file, _)| file.server_name.is_some());
    tx.insert_many(
        "UPDATE remote_media SET last_access_ms = $3 WHERE server_name = $1 AND file_id = $2 AND last_access_ms < $3",
        remote.map(|(file, at_ms)| [file.server().to_param(), file.file_id.to_param(), at_ms.to_param()]),
    )?;
    Ok(())
}
