//! The media store: a table that describes the media, and a folder with the content.

mod leftovers;
mod origin;
mod previews;
mod quota;
mod thumbnails;

use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Background, Clock, KeyedLocks, Random};
use plexus_net::PolicyHooks;
use plexus_protocol::id::UserId;
use plexus_store::repo::media::{self, Content, Filled};
use plexus_store::repo::media_files::MediaFile;
use plexus_store::{Database, DbError};
use tokio::fs::{self, File};
use tokio::io::AsyncSeekExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::error::{MediaError, UploadError};
use crate::last_access::LastAccess;
use crate::paths;
use crate::settings::MediaSettings;
use crate::space::{FreeSpace, Storing};
use crate::storage::{OpenPart, Storages};
use crate::thumbnail::ThumbnailRequest;
use crate::upload::{Description, Upload, UploadFolder, move_file};
use thumbnails::{Place, Thumbnails};

pub(crate) use origin::MediaOrigin;

/// The number of letters of a media id; Synapse's have as many.
const MEDIA_ID_LENGTH: usize = 24;
/// The number of locks for uploads to reserved ids.
const FILL_LOCKS: usize = 64;

/// How long it takes until it is written that media was requested.
const LAST_ACCESS_FLUSH_INTERVAL: Duration = Duration::from_secs(60);

/// Media uploaded to this server, and the folder for all media.
pub struct MediaStore {
    settings: MediaSettings,
    database: Database,
    clock: Clock,
    random: Random,
    background: Background,
    filled: Notify,
    /// Locks uploads to the same reserved id, by its hash.
    filling: KeyedLocks,
    thumbnails: Thumbnails,
    storages: Arc<Storages>,
    last_access: LastAccess,
    uploads: UploadFolder,
    policy_hooks: Option<Arc<PolicyHooks>>,
}

/// The parts from which a media store is built.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct MediaStoreParts {
    pub database: Database,
    pub clock: Clock,
    pub random: Random,
    pub background: Background,
    pub storages: Arc<Storages>,
    pub policy_hooks: Option<Arc<PolicyHooks>>,
}

/// An id handed out in advance.
#[derive(Debug)]
pub struct ReservedMediaId {
    /// The id, for the mxc:// URI.
    pub media_id: String,
    /// Unix ms.
    pub expires_ms: u64,
}

/// The headers with which content is served.
#[derive(Debug, Clone)]
pub struct MediaHead {
    /// The uploader's content type, or a default.
    pub content_type: String,
    /// The uploader's file name.
    pub upload_name: Option<String>,
    /// In bytes.
    pub length: u64,
    /// The same for the same bytes, for ETag.
    pub tag: String,
}

/// Content ready to be served.
#[derive(Debug)]
pub struct OpenMedia {
    /// Its headers.
    pub head: MediaHead,
    /// The open file, at its beginning, or at that of the part that is wanted.
    pub file: File,
    /// The space on the disk that a part takes, until this is dropped.
    pub space: Option<OwnedSemaphorePermit>,
}

impl MediaHead {
    pub(crate) fn new(content: &Content) -> Self {
        Self {
            content_type: content.content_type.clone(),
            upload_name: content.upload_name.clone(),
            length: content.length,
            tag: paths::hex(&content.sha256),
        }
    }
}

impl MediaStore {
    /// Opens the folder, creating it if it is missing. Uploads that an earlier process has recorded and not moved to
    /// their place are moved, and those that it did not finish are deleted.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or the database fails.
    pub async fn open(settings: MediaSettings, parts: MediaStoreParts) -> Result<Self, MediaError> {
        let MediaStoreParts { database, clock, random, background, storages, policy_hooks } = parts;
        let incoming = paths::incoming(&settings.folder);
        leftovers::clear(&settings.folder, &database)
            .await
            .map_err(|error| MediaError::Io { path: incoming, error })??;
        let space = Arc::new(FreeSpace::new(&settings.folder, settings.min_free_bytes));
        let uploads = UploadFolder {
            path: paths::incoming(&settings.folder),
            max_bytes: settings.max_upload_bytes,
            random: random.clone(),
            space: Arc::clone(&space),
        };
        let thumbnails = Thumbnails::new(&settings, clock.clone(), random.clone(), space);
        Ok(Self {
            settings,
            database,
            clock,
            random,
            background,
            filled: Notify::new(),
            filling: KeyedLocks::new(FILL_LOCKS),
            thumbnails,
            storages,
            last_access: LastAccess::default(),
            uploads,
            policy_hooks,
        })
    }

    /// Returns the largest content that is accepted, in bytes.
    pub fn max_upload_bytes(&self) -> u64 {
        self.settings.max_upload_bytes
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Generates a media id or file name that is not in use.
    pub(crate) fn new_id(&self) -> String {
        self.random.alphanumeric(MEDIA_ID_LENGTH)
    }

    /// Begins an upload: returns a file to write the content to.
    pub async fn begin_upload(&self) -> Result<Upload, MediaError> {
        self.uploads.begin(Storing::Upload).await.map_err(|error| self.refused(error))
    }

    /// Begins a download: returns a file to write another server's content to.
    pub(crate) async fn begin_download(&self) -> Result<Upload, MediaError> {
        Ok(self.uploads.begin(Storing::Copy).await?)
    }

    /// Notes a request for a file, whose last one is recorded with this time.
    pub(crate) fn note_access(&self, file: &MediaFile, recorded_ms: u64) {
        self.last_access.note(file, recorded_ms, self.clock.now_ms());
    }

    /// Writes when media was last requested; also called at shutdown.
    ///
    /// # Errors
    /// When the database fails; the times are kept for the next call.
    pub async fn flush_last_access(&self) -> Result<(), DbError> {
        self.last_access.flush(&self.database).await
    }

    /// Writes when media was last requested, from time to time, without end.
    pub async fn run_housekeeping(self: Arc<Self>) {
        loop {
            self.last_access.noted().await;
            self.clock.sleep(LAST_ACCESS_FLUSH_INTERVAL).await;
            if let Err(error) = self.flush_last_access().await {
                tracing::warn!(%error, "could not record when media was last requested");
            }
        }
    }

    pub(crate) fn storages(&self) -> &Arc<Storages> {
        &self.storages
    }

    /// Converts the error of a user's upload.
    pub fn refused(&self, error: UploadError) -> MediaError {
        match error {
            UploadError::NoSpace => MediaError::NoSpace { admin_contact: self.settings.admin_contact.clone() },
            error => error.into(),
        }
    }

    /// Stores an upload, and returns its new id. The upload is durable then.
    pub async fn store(&self, user: &UserId, upload: Upload, about: Description) -> Result<String, MediaError> {
        let media_id = self.new_id();
        self.check_upload_limits(user, upload.length()).await?;
        let file = MediaFile::local(&media_id);
        let target = self.path(&file)?;
        let (sealed, content) =
            self.seal(upload, &paths::upload_name(&media_id), about, MediaOrigin::of(user, &media_id)).await?;
        let (id, user, now, recorded) = (media_id.clone(), user.clone(), self.clock.now_ms(), file.clone());
        let (database, limits) = (self.database.clone(), self.settings.upload_limits.clone());
        let storages = Arc::clone(&self.storages);
        let add = async move {
            let added = database.write(move |tx| -> Result<(), MediaError> {
                quota::check(tx, &limits, user.as_str(), content.length, now)?;
                media::add(tx, &id, user.as_str(), &content, now)?;
                Ok(storages.queue_storing(tx, &recorded)?)
            });
            added.await
        };
        sealed.record(&self.background, add, target, ()).await?;
        self.storages.store_synchronously(&file).await;
        Ok(media_id)
    }

    /// Reserves an id to upload to later (`POST /_matrix/media/v1/create`).
    pub async fn reserve(&self, user: &UserId) -> Result<ReservedMediaId, MediaError> {
        let media_id = self.random.alphanumeric(MEDIA_ID_LENGTH);
        let now = self.clock.now_ms();
        let expires_ms = now.saturating_add(millis(self.settings.unused_expiration));
        let (id, user, most) = (media_id.clone(), user.clone(), self.settings.max_pending_uploads);
        self.database
            .write(move |tx| -> Result<(), MediaError> {
                let (pending, first_expires) = media::pending(tx, user.as_str(), now)?;
                if pending >= most {
                    let retry_after_ms = first_expires.unwrap_or(now).saturating_sub(now);
                    return Err(MediaError::TooManyPending { retry_after_ms });
                }
                Ok(media::reserve(tx, &id, user.as_str(), now, expires_ms)?)
            })
            .await?;
        Ok(ReservedMediaId { media_id, expires_ms })
    }

    /// Checks that `user` may upload to `media_id` now, before the content is read.
    pub async fn check_fillable(&self, user: &UserId, media_id: &str) -> Result<(), MediaError> {
        let id = media_id.to_owned();
        let known = self.database.read(move |tx| media::get(tx, &id)).await?;
        let known = known.ok_or(MediaError::NotFound)?;
        if known.user_id != user.as_str() {
            return Err(MediaError::NotYours);
        }
        if known.content.is_some() {
            return Err(MediaError::CannotOverwrite);
        }
        if known.expires_ms.is_none_or(|expires| expires <= self.clock.now_ms()) {
            return Err(MediaError::NotFound);
        }
        Ok(())
    }

    /// Stores an upload under a reserved id.
    pub async fn fill(
        &self,
        user: &UserId,
        media_id: &str,
        upload: Upload,
        about: Description,
    ) -> Result<(), MediaError> {
        // Two uploads to one id: the second waits until the first has committed or failed, and is refused before its
        // content takes the first's place.
        let turn = self.filling.lock(media_id).await;
        self.check_fillable(user, media_id).await?;
        self.check_upload_limits(user, upload.length()).await?;
        let file = MediaFile::local(media_id);
        let target = self.path(&file)?;
        let (sealed, content) =
            self.seal(upload, &paths::upload_name(media_id), about, MediaOrigin::of(user, media_id)).await?;
        let (id, user, now, recorded) = (media_id.to_owned(), user.clone(), self.clock.now_ms(), file.clone());
        let (database, limits) = (self.database.clone(), self.settings.upload_limits.clone());
        let storages = Arc::clone(&self.storages);
        let fill = async move {
            let filled = database.write(move |tx| -> Result<Filled, MediaError> {
                quota::check(tx, &limits, user.as_str(), content.length, now)?;
                let filled = media::fill(tx, &id, user.as_str(), &content, now)?;
                if filled == Filled::Now {
                    storages.queue_storing(tx, &recorded)?;
                }
                Ok(filled)
            });
            match filled.await? {
                Filled::Now => Ok(()),
                Filled::Already => Err(MediaError::CannotOverwrite),
                Filled::Unknown | Filled::Expired => Err(MediaError::NotFound),
            }
        };
        sealed.record(&self.background, fill, target, turn).await?;
        self.filled.notify_waiters();
        self.storages.store_synchronously(&file).await;
        Ok(())
    }

    /// Returns the path of a file in the folder.
    pub(crate) fn path(&self, file: &MediaFile) -> Result<PathBuf, MediaError> {
        paths::content_of(&self.settings.folder, file).ok_or(MediaError::NotFound)
    }

    /// Returns the content of `media_id`; waits up to `timeout` for content that is still to be uploaded.
    pub async fn get(&self, media_id: &str, timeout: Duration) -> Result<OpenMedia, MediaError> {
        let content = self.content(media_id, timeout).await?;
        self.open_file(&MediaFile::local(media_id), &content).await
    }

    /// Returns a part of `media_id`: see [`Self::open_part`].
    pub(crate) async fn part(
        &self,
        media_id: &str,
        timeout: Duration,
        part: Range<u64>,
    ) -> Result<OpenMedia, MediaError> {
        let content = self.content(media_id, timeout).await?;
        self.open_part(&MediaFile::local(media_id), &content, part).await
    }

    /// Returns the headers of `media_id`, as [`Self::get`] does. Its file may be missing.
    pub(crate) async fn head(&self, media_id: &str, timeout: Duration) -> Result<MediaHead, MediaError> {
        Ok(MediaHead::new(&self.content(media_id, timeout).await?))
    }

    /// Returns the content of a file, which is brought back to the folder if only a storage provider has it.
    pub(crate) async fn open_file(&self, file: &MediaFile, content: &Content) -> Result<OpenMedia, MediaError> {
        let path = self.path(file)?;
        match opened(&path, content).await {
            Err(MediaError::NotFound) => {
                self.bring_back(file, content).await?;
                opened(&path, content).await
            }
            open => open,
        }
    }

    /// Returns a part of a file, opened at its first byte, with the headers of the whole. A file that only a storage
    /// provider has is not brought back for it.
    pub(crate) async fn open_part(
        &self,
        file: &MediaFile,
        content: &Content,
        part: Range<u64>,
    ) -> Result<OpenMedia, MediaError> {
        let path = self.path(file)?;
        if self.storages.has_providers()
            && !self.is_in_folder(file, &path).await
            && let Some(OpenPart { file, space }) =
                self.storages.open_part(file, content, part.clone(), &self.uploads).await?
        {
            return Ok(OpenMedia { head: MediaHead::new(content), file, space });
        }
        let mut open = self.open_file(file, content).await?;
        let at_part = open.file.seek(SeekFrom::Start(part.start)).await;
        at_part.map_err(|error| MediaError::Io { path, error })?;
        Ok(open)
    }

    /// Whether a file is in the folder. An upload is moved to its place after its row is written: waits for that, or
    /// does it.
    async fn is_in_folder(&self, file: &MediaFile, path: &Path) -> bool {
        if fs::try_exists(path).await.unwrap_or(false) {
            return true;
        }
        if file.server_name.is_some() {
            return false;
        }
        drop(self.filling.lock(&*file.file_id).await);
        let upload = self.uploads.path.join(paths::upload_name(&file.file_id));
        let is_there = fs::try_exists(&upload).await.unwrap_or(false);
        (is_there && move_file(&upload, path).await.is_ok()) || fs::try_exists(path).await.unwrap_or(false)
    }

    /// Waits until a file is in the folder.
    ///
    /// # Errors
    /// [`MediaError::NotFound`] if it is in no storage.
    pub(crate) async fn bring_back(&self, file: &MediaFile, content: &Content) -> Result<(), MediaError> {
        let path = self.path(file)?;
        if self.is_in_folder(file, &path).await {
            return Ok(());
        }
        if self.storages.has_providers() && self.storages.restore(file, content, &self.uploads).await? {
            return Ok(());
        }
        tracing::error!("media store: {} is in the database but not in the folder", path.display());
        Err(MediaError::NotFound)
    }

    /// Returns a thumbnail of `media_id`, made now if it does not exist yet. For each `asker` (a user, an address, a
    /// server), one thumbnail is made at a time.
    pub async fn thumbnail(
        &self,
        media_id: &str,
        request: ThumbnailRequest,
        timeout: Duration,
        asker: &str,
    ) -> Result<OpenMedia, MediaError> {
        let content = self.content(media_id, timeout).await?;
        self.thumbnail_of(&MediaFile::local(media_id), &content, request, asker).await
    }

    /// Returns a thumbnail of a file.
    pub(crate) async fn thumbnail_of(
        &self,
        file: &MediaFile,
        content: &Content,
        request: ThumbnailRequest,
        asker: &str,
    ) -> Result<OpenMedia, MediaError> {
        let thumbnails = paths::thumbnails_of(&self.settings.folder, file).ok_or(MediaError::NotFound)?;
        let place = Place { source: self.path(file)?, thumbnails };
        self.thumbnails.get(place, content, request, asker, self.bring_back(file, content)).await
    }

    async fn content(&self, media_id: &str, timeout: Duration) -> Result<Content, MediaError> {
        if !paths::is_valid_media_id(media_id) {
            return Err(MediaError::NotFound);
        }
        let deadline = self.clock.monotonic().saturating_add(timeout);
        loop {
            // Registered before reading, so that an upload in between is not missed.
            let filled = self.filled.notified();
            let id = media_id.to_owned();
            let known = self.database.read(move |tx| media::get(tx, &id)).await?;
            let known = known.ok_or(MediaError::NotFound)?;
            if let Some(content) = known.content {
                self.note_access(&MediaFile::local(media_id), known.last_access_ms.unwrap_or(0));
                return Ok(content);
            }
            if known.expires_ms.is_none_or(|expires| expires <= self.clock.now_ms()) {
                return Err(MediaError::NotFound);
            }
            let left = deadline.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Err(MediaError::NotYetUploaded);
            }
            tokio::select! {
                () = filled => {}
                () = self.clock.sleep(left) => {}
            }
        }
    }
}

/// Returns the content at `path`, ready to be served.
pub(crate) async fn opened(path: &Path, content: &Content) -> Result<OpenMedia, MediaError> {
    Ok(OpenMedia { head: MediaHead::new(content), file: open(path).await?, space: None })
}

async fn open(path: &Path) -> Result<File, MediaError> {
    File::open(path).await.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            MediaError::NotFound
        } else {
            MediaError::Io { path: path.to_owned(), error }
        }
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
