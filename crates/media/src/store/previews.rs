//! Images of previews of links.

use plexus_protocol::id::UserId;
use plexus_store::repo::media;
use plexus_store::repo::media_files::MediaFile;

use plexus_store::{DbError, Tx};

use super::{MediaOrigin, MediaStore};
use crate::error::MediaError;
use crate::paths;
use crate::space::Storing;
use crate::thumbnail;
use crate::upload::{Description, Upload};

/// The number of letters after the date in the id of an image; Synapse's have as many.
const NAME_LENGTH: usize = 16;
const MS_PER_DAY: u64 = 24 * 3_600 * 1_000;

impl MediaStore {
    /// Begins the download of a page or an image of at most `max_bytes`: returns a file to write the content to.
    pub(crate) async fn begin_page(&self, max_bytes: u64) -> Result<Upload, MediaError> {
        Ok(self.uploads.begin_with_limit(Storing::Copy, max_bytes).await?)
    }

    /// Returns the width and height of the image in a file; `None` if it is not an image of a known type.
    pub(crate) async fn dimensions(&self, file: std::fs::File) -> Option<(u32, u32)> {
        let read = tokio::task::spawn_blocking(move || thumbnail::dimensions(file));
        read.await.ok().flatten()
    }

    /// Stores the image of the preview of `url`, which `user` was the first to ask for; `also` is part of the
    /// transaction. Returns its new media id.
    pub(crate) async fn store_of_preview(
        &self,
        user: &UserId,
        url: &str,
        upload: Upload,
        about: Description,
        also: impl FnOnce(&mut Tx<'_>) -> Result<(), DbError> + Send + 'static,
    ) -> Result<String, MediaError> {
        let now_ms = self.now_ms();
        let date = plexus_base::clock::date(now_ms / MS_PER_DAY);
        let media_id = format!("{date}_{}", self.random.alphanumeric(NAME_LENGTH));
        let file = MediaFile::local(&media_id);
        let target = self.path(&file)?;
        let (sealed, content) =
            self.seal(upload, &paths::upload_name(&media_id), about, MediaOrigin::of(user, &media_id)).await?;
        let (id, user, url) = (media_id.clone(), user.clone(), url.to_owned());
        let (database, storages) = (self.database.clone(), std::sync::Arc::clone(&self.storages));
        let add = async move {
            let added = database.write(move |tx| {
                media::add_of_preview(tx, &id, user.as_str(), &content, &url, now_ms)?;
                storages.queue_storing(tx, &file)?;
                also(tx)
            });
            added.await.map_err(MediaError::Database)
        };
        sealed.record(&self.background, add, target, ()).await?;
        Ok(media_id)
    }
}
