//! Upload quotas per user (`media_upload_limits`).

use plexus_protocol::id::UserId;
use plexus_store::repo::media;
use plexus_store::{DbError, Tx};

use super::{MediaStore, millis};
use crate::error::MediaError;
use crate::settings::UploadLimit;

/// Checks that `user` may upload `length` more bytes at `now_ms`. Called in the transaction that records them, so that
/// it holds for simultaneous uploads too.
pub(super) fn check(
    tx: &mut Tx<'_>,
    limits: &[UploadLimit],
    user: &str,
    length: u64,
    now_ms: u64,
) -> Result<(), MediaError> {
    match exceeded(tx, limits, user, length, now_ms)? {
        None => Ok(()),
        Some(limit) => Err(MediaError::UploadLimit(Box::new(limit.clone()))),
    }
}

fn exceeded<'l>(
    tx: &mut Tx<'_>,
    limits: &'l [UploadLimit],
    user: &str,
    length: u64,
    now_ms: u64,
) -> Result<Option<&'l UploadLimit>, DbError> {
    for limit in limits {
        let since = now_ms.saturating_sub(millis(limit.period));
        let uploaded = media::uploaded_since(tx, user, since)?;
        if uploaded.saturating_add(length) > limit.max_bytes {
            return Ok(Some(limit));
        }
    }
    Ok(None)
}

impl MediaStore {
    /// Checks that `user` may upload `length` bytes now: called before the content is read, and again when it is
    /// stored.
    ///
    /// # Errors
    /// [`MediaError::UploadLimit`], or the database's.
    pub async fn check_upload_limits(&self, user: &UserId, length: u64) -> Result<(), MediaError> {
        if self.settings.upload_limits.is_empty() {
            return Ok(());
        }
        let (limits, user, now) = (self.settings.upload_limits.clone(), user.clone(), self.clock.now_ms());
        self.database.read(move |tx| check(tx, &limits, user.as_str(), length, now)).await
    }
}
