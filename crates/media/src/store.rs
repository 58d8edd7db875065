//! The media store: a table that describes the media, and a folder with the content.

mod quota;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Background, Clock, KeyedLocks, Random, private};
use plexus_net::Gates;
use plexus_net::federation::Pass;
use plexus_protocol::id::UserId;
use plexus_store::Database;
use plexus_store::repo::media::{self, Content, Filled};
use quick_cache::sync::Cache;
use tokio::fs::{self, File};
use tokio::sync::{Notify, Semaphore};

use crate::error::{MediaError, UploadError};
use crate::paths;
use crate::settings::MediaSettings;
use crate::space::{FreeSpace, Storing};
use crate::thumbnail::animation::{self, Outcome};
use crate::thumbnail::{self, Format, Method, ThumbnailError, ThumbnailRequest, ThumbnailSize};
use crate::upload::{Description, Kept, Upload};

/// The number of letters of a media id; Synapse's have as many.
const MEDIA_ID_LENGTH: usize = 24;

/// The most thumbnails made at the same time: each may hold two decoded images in memory, an animated one some more.
const CONCURRENT_THUMBNAILS: usize = 2;

/// The most of these for one user, client address or server.
const THUMBNAILS_OF_ONE: usize = 1;

/// The most of these that are animated: they take long, and other thumbnails need not wait for them.
const CONCURRENT_ANIMATIONS: usize = 1;

/// How long making an animated thumbnail may take; then a still one is made instead.
const MAX_ANIMATION_TIME: Duration = Duration::from_secs(10);

/// How many images are remembered to have no animated thumbnail in a size: finding that out takes decoding them.
const KNOWN_STILL: usize = 10_000;

/// The size that is used when none is configured and there are too many thumbnails in sizes that clients chose.
const LAST_THUMBNAIL: ThumbnailSize = ThumbnailSize { width: 640, height: 480, method: Method::Scale };

/// The number of locks for uploads to reserved ids.
const FILL_LOCKS: usize = 64;

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
    thumbnails: Arc<Semaphore>,
    animations: Arc<Semaphore>,
    /// Limits the thumbnails made for one client: its others wait here, and not before those of somebody else.
    thumbnails_of: Gates,
    /// Images, by their hashes, with the sizes in which they have no animated thumbnail.
    still: Cache<(Box<[u8]>, ThumbnailSize), ()>,
    space: Arc<FreeSpace>,
}

/// An id handed out in advance.
#[derive(Debug)]
pub struct ReservedMediaId {
    /// The id, for the mxc:// URI.
    pub media_id: String,
    /// Unix ms.
    pub expires_ms: u64,
}

/// Content ready to be served.
#[derive(Debug)]
pub struct OpenMedia {
    /// The uploader's content type, or a default.
    pub content_type: String,
    /// The uploader's file name.
    pub upload_name: Option<String>,
    /// In bytes.
    pub length: u64,
    /// The same for the same bytes, for ETag.
    pub tag: String,
    /// The open file, at its beginning.
    pub file: File,
}

impl MediaStore {
    /// Opens the folder, creating it if it is missing, and deletes uploads that an earlier process did not finish.
    pub fn open(
        settings: MediaSettings,
        database: Database,
        clock: Clock,
        random: Random,
        background: Background,
    ) -> Result<Self, MediaError> {
        let incoming = paths::incoming(&settings.folder);
        let prepare = || -> io::Result<()> {
            private::create_folders(&incoming)?;
            for leftover in std::fs::read_dir(&incoming)? {
                std::fs::remove_file(leftover?.path())?;
            }
            Ok(())
        };
        prepare().map_err(|error| MediaError::Io { path: incoming.clone(), error })?;
        let space = Arc::new(FreeSpace::new(&settings.folder, settings.min_free_bytes));
        Ok(Self {
            settings,
            database,
            clock,
            random,
            background,
            filled: Notify::new(),
            filling: KeyedLocks::new(FILL_LOCKS),
            thumbnails: Arc::new(Semaphore::new(CONCURRENT_THUMBNAILS)),
            animations: Arc::new(Semaphore::new(CONCURRENT_ANIMATIONS)),
            thumbnails_of: Gates::new(THUMBNAILS_OF_ONE),
            still: Cache::new(KNOWN_STILL),
            space,
        })
    }

    /// Returns the largest content that is accepted, in bytes.
    pub fn max_upload_bytes(&self) -> u64 {
        self.settings.max_upload_bytes
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.settings.folder
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
        self.begin(Storing::Upload).await.map_err(|error| self.refused(error))
    }

    /// Begins a download: returns a file to write another server's content to.
    pub(crate) async fn begin_download(&self) -> Result<Upload, MediaError> {
        Ok(self.begin(Storing::Copy).await?)
    }

    async fn begin(&self, storing: Storing) -> Result<Upload, UploadError> {
        let path = paths::incoming(&self.settings.folder).join(self.random.alphanumeric(MEDIA_ID_LENGTH));
        Upload::create(path, self.settings.max_upload_bytes, Arc::clone(&self.space), storing).await
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
        let (kept, content) = self.keep(&media_id, upload, about).await?;
        let (id, user, now) = (media_id.clone(), user.clone(), self.clock.now_ms());
        let (database, limits) = (self.database.clone(), self.settings.upload_limits.clone());
        let add = async move {
            let added = database.write(move |tx| -> Result<(), MediaError> {
                quota::check(tx, &limits, user.as_str(), content.length, now)?;
                Ok(media::add(tx, &id, user.as_str(), &content, now)?)
            });
            added.await
        };
        kept.record(&self.background, add, ()).await?;
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
        let (kept, content) = self.keep(media_id, upload, about).await?;
        let (id, user, now) = (media_id.to_owned(), user.clone(), self.clock.now_ms());
        let (database, limits) = (self.database.clone(), self.settings.upload_limits.clone());
        let fill = async move {
            let filled = database.write(move |tx| -> Result<Filled, MediaError> {
                quota::check(tx, &limits, user.as_str(), content.length, now)?;
                Ok(media::fill(tx, &id, user.as_str(), &content, now)?)
            });
            match filled.await? {
                Filled::Unknown | Filled::Expired => Err(MediaError::NotFound),
                filled => Ok(filled),
            }
        };
        match kept.record(&self.background, fill, turn).await? {
            Filled::Already => Err(MediaError::CannotOverwrite),
            _ => {
                self.filled.notify_waiters();
                Ok(())
            }
        }
    }

    async fn keep(&self, media_id: &str, upload: Upload, about: Description) -> Result<(Kept, Content), MediaError> {
        let target = paths::content(&self.settings.folder, media_id).ok_or(MediaError::NotFound)?;
        let kept = upload.keep_as(&target).await?;
        let content = kept.described(about);
        Ok((kept, content))
    }

    /// Returns the content of `media_id`; waits up to `timeout` for content that is still to be uploaded.
    pub async fn get(&self, media_id: &str, timeout: Duration) -> Result<OpenMedia, MediaError> {
        let content = self.content(media_id, timeout).await?;
        let path = paths::content(&self.settings.folder, media_id).ok_or(MediaError::NotFound)?;
        opened(&path, &content).await
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
        let source = paths::content(&self.settings.folder, media_id).ok_or(MediaError::NotFound)?;
        let thumbnails = paths::thumbnails(&self.settings.folder, media_id).ok_or(MediaError::NotFound)?;
        self.thumbnail_of(source, thumbnails, &content, request, asker).await
    }

    /// Returns a thumbnail of the image at `source`, stored in the folder `thumbnails`.
    pub(crate) async fn thumbnail_of(
        &self,
        source: PathBuf,
        thumbnails: PathBuf,
        content: &Content,
        request: ThumbnailRequest,
        asker: &str,
    ) -> Result<OpenMedia, MediaError> {
        let still = thumbnail::format_for(&content.content_type).ok_or(ThumbnailError::NotAnImage)?;
        let animated = request.animated && animation::may_be_animated(&content.content_type);
        let formats = [Format::Gif, still];
        for format in if animated { &formats[..] } else { &formats[1..] } {
            let (size, target) = self.place(&thumbnails, request, *format).await;
            if !fs::try_exists(&target).await.unwrap_or(false) {
                let (source, target) = (source.clone(), target.clone());
                if *format != Format::Gif {
                    self.make_thumbnail(source, target, size, *format, asker).await?;
                } else if !self.animate(source, target, size, content, asker).await? {
                    continue;
                }
            }
            let file = open(&target).await?;
            let length = file.metadata().await.map_err(|error| MediaError::Io { path: target.clone(), error })?.len();
            let hash = paths::hex(&content.sha256);
            return Ok(OpenMedia {
                content_type: format.content_type().to_owned(),
                upload_name: None,
                length,
                tag: format!("{hash}-{}-{}-{}-{}", size.width, size.height, size.method.as_str(), format.subtype()),
                file,
            });
        }
        Err(ThumbnailError::NotAnImage.into())
    }

    /// Returns the size of the thumbnail that fits a request best, and its file.
    async fn place(&self, thumbnails: &Path, request: ThumbnailRequest, format: Format) -> (ThumbnailSize, PathBuf) {
        let sizes = &self.settings.thumbnail_sizes;
        let any_size = self.settings.dynamic_thumbnails || sizes.is_empty();
        let mut size = if any_size { request.exact() } else { thumbnail::choose(sizes, request) };
        let mut target = thumbnails.join(paths::thumbnail_name(&size, format));
        if any_size && !fs::try_exists(&target).await.unwrap_or(false) && thumbnail::has_many_files(thumbnails).await {
            size = if sizes.is_empty() { LAST_THUMBNAIL } else { thumbnail::choose(sizes, request) };
            target = thumbnails.join(paths::thumbnail_name(&size, format));
        }
        (size, target)
    }

    /// Makes a thumbnail that is not animated.
    async fn make_thumbnail(
        &self,
        source: PathBuf,
        target: PathBuf,
        size: ThumbnailSize,
        format: Format,
        asker: &str,
    ) -> Result<(), MediaError> {
        let share = self.thumbnails_of.enter(asker).await;
        if !self.space.has_room(Storing::Copy).await {
            return Err(self.refused(UploadError::NoSpace));
        }
        let (most, spare) = (self.settings.max_image_pixels, self.random.alphanumeric(8));
        self.in_turn(target.clone(), share, move || {
            if target.exists() { Ok(()) } else { thumbnail::make(&source, &target, &spare, size, format, most) }
        })
        .await
    }

    /// Makes an animated thumbnail. Returns false if there is none, at least not now, but there may be one that is not
    /// animated.
    async fn animate(
        &self,
        source: PathBuf,
        target: PathBuf,
        size: ThumbnailSize,
        content: &Content,
        asker: &str,
    ) -> Result<bool, MediaError> {
        let image: (Box<[u8]>, ThumbnailSize) = (content.sha256.as_slice().into(), size);
        if self.still.get(&image).is_some() || !self.space.has_room(Storing::Copy).await {
            return Ok(false);
        }
        let share = self.thumbnails_of.enter(asker).await;
        let permit = Arc::clone(&self.animations).acquire_owned().await.map_err(|_| MediaError::NotFound)?;
        let (most, spare, clock) = (self.settings.max_image_pixels, self.random.alphanumeric(8), self.clock.clone());
        let made = self.in_turn(target.clone(), share, move || {
            let _permit = permit;
            if target.exists() {
                return Ok(Outcome::Made);
            }
            let begun = clock.monotonic();
            let expired = || clock.monotonic().saturating_sub(begun) > MAX_ANIMATION_TIME;
            animation::make(&source, &target, &spare, size, most, expired)
        });
        match made.await {
            Ok(Outcome::Made) => Ok(true),
            // An image that cannot be animated may still have a first frame that can be shown.
            Ok(Outcome::None) | Err(MediaError::Thumbnail(ThumbnailError::Unreadable(_))) => {
                self.still.insert(image, ());
                Ok(false)
            }
            Ok(Outcome::Expired) => Ok(false),
            Err(error @ MediaError::Thumbnail(ThumbnailError::Io { .. })) => {
                tracing::warn!("an animated thumbnail could not be made: {error}");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the thumbnail at `target` may be made, and makes it with `work`.
    async fn in_turn<R: Send + 'static>(
        &self,
        target: PathBuf,
        share: Pass,
        work: impl FnOnce() -> Result<R, ThumbnailError> + Send + 'static,
    ) -> Result<R, MediaError> {
        let permit = Arc::clone(&self.thumbnails).acquire_owned().await.map_err(|_| MediaError::NotFound)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the client that waits for it, because the work continues when the client
            // hangs up.
            let _held = (permit, share);
            work()
        });
        Ok(done.await.map_err(|panic| MediaError::Io { path: target, error: io::Error::other(panic) })??)
    }
}

/// Returns the content at `path`, ready to be served.
pub(crate) async fn opened(path: &Path, content: &Content) -> Result<OpenMedia, MediaError> {
    Ok(OpenMedia {
        content_type: content.content_type.clone(),
        upload_name: content.upload_name.clone(),
        length: content.length,
        tag: paths::hex(&content.sha256),
        file: open(path).await?,
    })
}

async fn open(path: &Path) -> Result<File, MediaError> {
    File::open(path).await.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            tracing::error!("media store: {} is in the database but not in the folder", path.display());
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
