//! Previews of links.

use sha2::{Digest as _, Sha256};

use crate::db::ToSql as _;
use crate::{DbError, Row, Tx, first};

/// A preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPreview {
    /// When the page was downloaded, in Unix ms.
    pub downloaded_ms: u64,
    /// Until when it is valid, in Unix ms.
    pub expires_ms: u64,
    /// Open Graph tags.
    pub json: String,
}

/// Returns the preview of `url` at a time: the last that was made until then, or else the first after it.
pub fn get(tx: &mut Tx<'_>, url: &str, at_ms: u64) -> Result<Option<UrlPreview>, DbError> {
    let hash = hash(url);
    let before = tx.query_opt(
        "SELECT downloaded_ms, expires_ms, json FROM url_previews WHERE url_hash = $1 AND downloaded_ms <= $2
         ORDER BY downloaded_ms DESC LIMIT 1",
        &[&hash, &at_ms],
        read,
    )?;
    if before.is_some() {
        return Ok(before);
    }
    tx.query_opt(
        "SELECT downloaded_ms, expires_ms, json FROM url_previews WHERE url_hash = $1 AND downloaded_ms > $2
         ORDER BY downloaded_ms LIMIT 1",
        &[&hash, &at_ms],
        read,
    )
}

fn read(row: &Row<'_>) -> Result<UrlPreview, DbError> {
    Ok(UrlPreview { downloaded_ms: row.get(0)?, expires_ms: row.get(1)?, json: row.get(2)? })
}

/// Records the preview of `url`.
pub fn add(tx: &mut Tx<'_>, url: &str, preview: &UrlPreview) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO url_previews (url_hash, downloaded_ms, expires_ms, json) VALUES ($1, $2, $3, $4)
         ON CONFLICT (url_hash, downloaded_ms) DO UPDATE SET expires_ms = excluded.expires_ms, json = excluded.json",
        &[&hash(url), &preview.downloaded_ms, &preview.expires_ms, &preview.json],
    )?;
    Ok(())
}

/// Deletes `limit` previews that are not valid any more. Returns how many were deleted.
pub fn delete_expired(tx: &mut Tx<'_>, now_ms: u64, limit: u32) -> Result<usize, DbError> {
    let expired: Vec<(Vec<u8>, u64)> = tx.query(
        "SELECT url_hash, downloaded_ms FROM url_previews WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2",
        &[&now_ms, &limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    tx.insert_many(
        "DELETE FROM url_previews WHERE url_hash = $1 AND downloaded_ms = $2",
        expired.iter().map(|(hash, downloaded_ms)| [hash.to_param(), downloaded_ms.to_param()]),
    )?;
    Ok(expired.len())
}

/// Whether there are previews.
pub fn has_any(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    let found: Option<u64> =
        tx.query_opt("SELECT expires_ms FROM url_previews ORDER BY expires_ms LIMIT 1", &[], first)?;
    Ok(found.is_some())
}

fn hash(url: &str) -> Vec<u8> {
    Sha256::digest(url).to_vec()
}
