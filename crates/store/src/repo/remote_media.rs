//! Media fetched from other servers, without its content.

use super::media::Content;
use crate::{DbError, Tx};

/// The metadata of remote media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMedia {
    /// The name of its file.
    pub file_id: String,
    /// The metadata of the content.
    pub content: Content,
}

/// Returns the metadata of `media_id` of a server.
pub fn get(tx: &mut Tx<'_>, server_name: &str, media_id: &str) -> Result<Option<RemoteMedia>, DbError> {
    tx.query_opt(
        "SELECT file_id, content_type, upload_name, length, sha256 FROM remote_media
         WHERE server_name = $1 AND media_id = $2",
        &[&server_name, &media_id],
        |row| {
            let content = Content {
                content_type: row.get(1)?,
                upload_name: row.get(2)?,
                length: row.get(3)?,
                sha256: row.get(4)?,
            };
            Ok(RemoteMedia { file_id: row.get(0)?, content })
        },
    )
}

/// Records fetched media and replaces an earlier record.
pub fn set(
    tx: &mut Tx<'_>,
    server_name: &str,
    media_id: &str,
    media: &RemoteMedia,
    now_ms: u64,
) -> Result<(), DbError> {
    let content = &media.content;
    tx.execute_later(
        "INSERT INTO remote_media
         (server_name, media_id, file_id, fetched_ms, content_type, upload_name, length, sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (server_name, media_id) DO UPDATE SET file_id = excluded.file_id, fetched_ms = excluded.fetched_ms,
         content_type = excluded.content_type, upload_name = excluded.upload_name, length = excluded.length,
         sha256 = excluded.sha256",
        &[
            &server_name,
            &media_id,
            &media.file_id,
            &now_ms,
            &content.content_type,
            &content.upload_name,
            &content.length,
            &content.sha256,
        ],
    )?;
    Ok(())
}
