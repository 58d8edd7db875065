//! Media uploaded to this server, without its content.

use crate::db::ToSql as _;
use crate::{Any, DbError, Row, Tx, first};

/// The metadata of local media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    pub user_id: String,
    /// When an id without content expires, in Unix ms.
    pub expires_ms: Option<u64>,
    /// `None` until content is uploaded.
    pub content: Option<Content>,
    /// When the content was last requested, in Unix ms.
    pub last_access_ms: Option<u64>,
}

/// The metadata of uploaded content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub content_type: String,
    pub upload_name: Option<String>,
    /// In bytes.
    pub length: u64,
    pub sha256: Vec<u8>,
}

/// The result of [`fill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// The content was recorded.
    Now,
    /// Content was uploaded to the id before.
    Already,
    /// There is no such id, or it belongs to another user.
    Unknown,
    /// The id has expired.
    Expired,
}

/// Returns the metadata of `media_id`.
pub fn get(tx: &mut Tx<'_>, media_id: &str) -> Result<Option<LocalMedia>, DbError> {
    tx.query_opt(
        "SELECT user_id, expires_ms, content_type, upload_name, length, sha256, last_access_ms
         FROM local_media WHERE media_id = $1",
        &[&media_id],
        read,
    )
}

fn read(row: &Row<'_>) -> Result<LocalMedia, DbError> {
    let content = match row.get::<Option<String>>(2)? {
        None => None,
        Some(content_type) => {
            Some(Content { content_type, upload_name: row.get(3)?, length: row.get(4)?, sha256: row.get(5)? })
        }
    };
    Ok(LocalMedia { user_id: row.get(0)?, expires_ms: row.get(1)?, content, last_access_ms: row.get(6)? })
}

/// Records media that was uploaded in one step.
pub fn add(tx: &mut Tx<'_>, media_id: &str, user_id: &str, content: &Content, now_ms: u64) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO local_media \
         (media_id, user_id, created_ms, last_access_ms, content_type, upload_name, length, sha256) \
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7)",
        &[&media_id, &user_id, &now_ms, &content.content_type, &content.upload_name, &content.length, &content.sha256],
    )?;
    Ok(())
}

/// Records the image of a preview of the page at `url`, which `user_id` was the first to ask for.
pub fn add_of_preview(
    tx: &mut Tx<'_>,
    media_id: &str,
    user_id: &str,
    content: &Content,
    url: &str,
    now_ms: u64,
) -> Result<(), DbError> {
    add(tx, media_id, user_id, content, now_ms)?;
    tx.execute_later("UPDATE local_media SET preview_of = $2 WHERE media_id = $1", &[&media_id, &url])?;
    Ok(())
}

/// Forgets `limit` images of previews that were made before `before_ms`. Returns their ids.
pub fn forget_of_previews(tx: &mut Tx<'_>, before_ms: u64, limit: u32) -> Result<Vec<String>, DbError> {
    let old: Vec<String> = tx.query(
        "SELECT media_id FROM local_media WHERE preview_of IS NOT NULL AND created_ms < $1
         ORDER BY created_ms LIMIT $2",
        &[&before_ms, &limit],
        first,
    )?;
    tx.insert_many("DELETE FROM local_media WHERE media_id = $1", old.iter().map(|id| [id.to_param()]))?;
    Ok(old)
}

/// Whether there are images of previews.
pub fn has_any_of_previews(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    let found: Option<u64> = tx.query_opt(
        "SELECT created_ms FROM local_media WHERE preview_of IS NOT NULL ORDER BY created_ms LIMIT 1",
        &[],
        first,
    )?;
    Ok(found.is_some())
}

/// Reserves an id for a later upload.
pub fn reserve(tx: &mut Tx<'_>, media_id: &str, user_id: &str, now_ms: u64, expires_ms: u64) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO local_media (media_id, user_id, created_ms, expires_ms) VALUES ($1, $2, $3, $4)",
        &[&media_id, &user_id, &now_ms, &expires_ms],
    )?;
    Ok(())
}

/// Returns how many ids of a user still wait for content, and when the first of them expires (Unix ms).
pub fn pending(tx: &mut Tx<'_>, user_id: &str, now_ms: u64) -> Result<(u64, Option<u64>), DbError> {
    tx.query_one(
        "SELECT COUNT(*), MIN(expires_ms) FROM local_media \
         WHERE user_id = $1 AND content_type IS NULL AND expires_ms > $2",
        &[&user_id, &now_ms],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns how many bytes a user has uploaded since `since_ms`. Images of previews are not uploads.
pub fn uploaded_since(tx: &mut Tx<'_>, user_id: &str, since_ms: u64) -> Result<u64, DbError> {
    tx.query_one(
        "SELECT CAST(COALESCE(SUM(length), 0) AS BIGINT) FROM local_media
         WHERE user_id = $1 AND created_ms > $2 AND preview_of IS NULL",
        &[&user_id, &since_ms],
        |row| row.get(0),
    )
}

/// Records the content uploaded to a reserved id. It counts as created now and not when the id was reserved: a delayed
/// upload is still one of the last hour.
pub fn fill(tx: &mut Tx<'_>, media_id: &str, user_id: &str, content: &Content, now_ms: u64) -> Result<Filled, DbError> {
    let Some(known) = get(tx, media_id)?.filter(|media| media.user_id == user_id) else {
        return Ok(Filled::Unknown);
    };
    if known.content.is_some() {
        return Ok(Filled::Already);
    }
    if known.expires_ms.is_none_or(|expires| expires <= now_ms) {
        return Ok(Filled::Expired);
    }
    tx.execute_later(
        "UPDATE local_media SET content_type = $2, upload_name = $3, length = $4, sha256 = $5, expires_ms = NULL, \
         created_ms = $6, last_access_ms = $6 WHERE media_id = $1",
        &[&media_id, &content.content_type, &content.upload_name, &content.length, &content.sha256, &now_ms],
    )?;
    Ok(Filled::Now)
}

/// Returns the media that was last requested before `before_ms`: `limit` ids with the times of their last requests, in
/// the order of both, after `after`.
pub fn unused_since(
    tx: &mut Tx<'_>,
    before_ms: u64,
    after: &(u64, String),
    limit: u32,
) -> Result<Vec<(u64, String)>, DbError> {
    tx.query(
        "SELECT last_access_ms, media_id FROM local_media
         WHERE last_access_ms < $1 AND (last_access_ms, media_id) > ($2, $3)
         ORDER BY last_access_ms, media_id LIMIT $4",
        &[&before_ms, &after.0, &after.1, &limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Forgets media unless it was requested at `before_ms` or later. Returns the ids that were forgotten.
pub fn forget_unused(tx: &mut Tx<'_>, media_ids: &[String], before_ms: u64) -> Result<Vec<String>, DbError> {
    let unused: Vec<String> = tx.query(
        "SELECT media_id FROM local_media WHERE media_id = ANY($1) AND last_access_ms < $2",
        &[&Any(media_ids), &before_ms],
        first,
    )?;
    tx.insert_many("DELETE FROM local_media WHERE media_id = $1", unused.iter().map(|id| [id.to_param()]))?;
    Ok(unused)
}
