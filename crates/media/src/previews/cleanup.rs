//! Deletes previews that are not valid any more, and images that no client shows any more.

use std::sync::Arc;
use std::time::Duration;

use plexus_store::repo::media_files::MediaFile;
use plexus_store::repo::{media, url_previews};
use plexus_store::{Database, DbError};

use crate::store::MediaStore;

/// How many are deleted in one transaction.
const PAGE: u32 = 100;
/// How long the images of previews are kept, as in Synapse: clients may show them for a while after their previews have
/// expired.
const IMAGES_KEPT: Duration = Duration::from_secs(2 * 24 * 3_600);

/// Deletes previews that are not valid any more.
pub struct PreviewCleanup {
    database: Database,
    media: Arc<MediaStore>,
}

impl PreviewCleanup {
    /// Creates the service.
    pub fn new(database: Database, media: Arc<MediaStore>) -> Self {
        Self { database, media }
    }

    /// Deletes what has expired; has all storages delete the files. Returns whether there is more that will expire.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn apply(&self) -> Result<bool, DbError> {
        let now_ms = self.media.now_ms();
        let deleted = async || self.database.write(move |tx| url_previews::delete_expired(tx, now_ms, PAGE)).await;
        while deleted().await? == PAGE as usize {}
        let kept_ms = u64::try_from(IMAGES_KEPT.as_millis()).unwrap_or(u64::MAX);
        while self.delete_images(now_ms.saturating_sub(kept_ms)).await? == PAGE as usize {}
        self.database.read(|tx| Ok(url_previews::has_any(tx)? || media::has_any_of_previews(tx)?)).await
    }

    async fn delete_images(&self, before_ms: u64) -> Result<usize, DbError> {
        let storages = Arc::clone(self.media.storages());
        let deleted = self.database.write(move |tx| {
            let deleted = media::forget_of_previews(tx, before_ms, PAGE)?;
            let files: Vec<MediaFile> = deleted.iter().map(|media_id| MediaFile::local(media_id)).collect();
            storages.queue_deletion(tx, &files)?;
            Ok(files.len())
        });
        deleted.await
    }
}
