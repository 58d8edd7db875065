//! Media fetched from other servers, without its content.

use super::media::Content;
use super::media_files::MediaFile;
use crate::db::ToSql as _;
use crate::{DbError, Tx, first};

/// The metadata of remote media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMedia {
    /// The name of its file.
    pub file_id: String,
    /// The metadata of the content.
    pub content: Content,
    /// When it was last requested, in Unix ms.
    pub last_access_ms: u64,
}

/// Returns the metadata of `media_id` of a server.
pub fn get(tx: &mut Tx<'_>, server_name: &str, media_id: &str) -> Result<Option<RemoteMedia>, DbError> {
    tx.query_opt(
        "SELECT file_id, content_type, upload_name, length, sha256, last_access_ms FROM remote_media
         WHERE server_name = $1 AND media_id = $2",
        &[&server_name, &media_id],
        |row| {
            let content = Content {
                content_type: row.get(1)?,
                upload_name: row.get(2)?,
                length: row.get(3)?,
                sha256: row.get(4)?,
            };
            Ok(RemoteMedia { file_id: row.get(0)?, content, last_access_ms: row.get(5)? })
        },
    )
}

/// Records fetched media and replaces an earlier record. Returns the file of the earlier one.
pub fn set(
    tx: &mut Tx<'_>,
    server_name: &str,
    media_id: &str,
    media: &RemoteMedia,
    now_ms: u64,
) -> Result<Option<String>, DbError> {
    let replaced: Option<String> = tx.query_opt(
        "SELECT file_id FROM remote_media WHERE server_name = $1 AND media_id = $2",
        &[&server_name, &media_id],
        first,
    )?;
    let content = &media.content;
    tx.execute_later(
        "INSERT INTO remote_media
         (server_name, media_id, file_id, fetched_ms, content_type, upload_name, length, sha256, last_access_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (server_name, media_id) DO UPDATE SET file_id = excluded.file_id, fetched_ms = excluded.fetched_ms,
         content_type = excluded.content_type, upload_name = excluded.upload_name, length = excluded.length,
         sha256 = excluded.sha256, last_access_ms = excluded.last_access_ms",
        &[
            &server_name,
            &media_id,
            &media.file_id,
            &now_ms,
            &content.content_type,
            &content.upload_name,
            &content.length,
            &content.sha256,
            &media.last_access_ms,
        ],
    )?;
    Ok(replaced.filter(|replaced| *replaced != media.file_id))
}

/// Forgets media that was last requested before `before_ms`, at most `limit`. Returns their files.
pub fn forget_unused(tx: &mut Tx<'_>, before_ms: u64, limit: u32) -> Result<Vec<MediaFile>, DbError> {
    let unused: Vec<(String, String, String)> = tx.query(
        "SELECT server_name, media_id, file_id FROM remote_media WHERE last_access_ms < $1
         ORDER BY last_access_ms LIMIT $2",
        &[&before_ms, &limit],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    tx.insert_many(
        "DELETE FROM remote_media WHERE server_name = $1 AND media_id = $2",
        unused.iter().map(|(server_name, media_id, _)| [server_name.to_param(), media_id.to_param()]),
    )?;
    Ok(unused.iter().map(|(server_name, _, file_id)| MediaFile::remote(server_name, file_id)).collect())
}
