//! The thumbnails in the folder of the media store, and the limits on making more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_net::Gates;
use plexus_net::federation::Pass;
use plexus_store::repo::media::Content;
use quick_cache::sync::Cache;
use tokio::fs;
use tokio::sync::Semaphore;

use super::{MediaHead, OpenMedia, open};
use crate::error::MediaError;
use crate::paths;
use crate::settings::MediaSettings;
use crate::space::{FreeSpace, Storing};
use crate::thumbnail::animation::{self, Outcome};
use crate::thumbnail::{self, Format, Method, ThumbnailError, ThumbnailRequest, ThumbnailSize};

/// The most thumbnails made at the same time: each may hold two decoded images in memory, an animated one some more.
pub(super) const CONCURRENT_THUMBNAILS: usize = 2;

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

/// Where an image is.
pub(super) struct Place {
    /// The image.
    pub(super) source: PathBuf,
    /// The folder of its thumbnails.
    pub(super) thumbnails: PathBuf,
}

/// Returns thumbnails, and makes those that are not there yet.
pub(super) struct Thumbnails {
    sizes: Vec<ThumbnailSize>,
    /// Whether they are made in exactly the requested size.
    pub(super) dynamic: bool,
    /// Images with more pixels get none.
    max_pixels: u64,
    admin_contact: Option<String>,
    clock: Clock,
    random: Random,
    pub(super) space: Arc<FreeSpace>,
    pub(super) thumbnails: Arc<Semaphore>,
    animations: Arc<Semaphore>,
    /// Limits the thumbnails made for one client: its others wait here, and not before those of somebody else.
    thumbnails_of: Gates,
    /// Images, by their hashes, with the sizes in which they have no animated thumbnail.
    pub(super) still: Cache<(Box<[u8]>, ThumbnailSize), ()>,
}

impl Thumbnails {
    pub(super) fn new(settings: &MediaSettings, clock: Clock, random: Random, space: Arc<FreeSpace>) -> Self {
        Self {
            sizes: settings.thumbnail_sizes.clone(),
            dynamic: settings.dynamic_thumbnails,
            max_pixels: settings.max_image_pixels,
            admin_contact: settings.admin_contact.clone(),
            clock,
            random,
            space,
            thumbnails: Arc::new(Semaphore::new(CONCURRENT_THUMBNAILS)),
            animations: Arc::new(Semaphore::new(CONCURRENT_ANIMATIONS)),
            thumbnails_of: Gates::new(THUMBNAILS_OF_ONE),
            still: Cache::new(KNOWN_STILL),
        }
    }

    /// Returns a thumbnail of the image at `source`, stored in the folder `thumbnails`. If it is to be made, `fetch`
    /// brings the image to its place. For each `asker` (a user, an address, a server), one thumbnail is made at a time.
    pub(super) async fn get(
        &self,
        place: Place,
        content: &Content,
        request: ThumbnailRequest,
        asker: &str,
        fetch: impl Future<Output = Result<(), MediaError>> + Send,
    ) -> Result<OpenMedia, MediaError> {
        let Place { source, thumbnails } = place;
        let mut fetch = Some(fetch);
        let still = thumbnail::format_for(&content.content_type).ok_or(ThumbnailError::NotAnImage)?;
        let animated = request.animated && animation::may_be_animated(&content.content_type);
        let formats = [Format::Gif, still];
        for format in if animated { &formats[..] } else { &formats[1..] } {
            let (size, target) = self.place(&thumbnails, request, *format).await;
            if !fs::try_exists(&target).await.unwrap_or(false) {
                if let Some(fetch) = fetch.take() {
                    fetch.await?;
                }
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
            let head = MediaHead {
                content_type: format.content_type().to_owned(),
                upload_name: None,
                length,
                tag: format!("{hash}-{}-{}-{}-{}", size.width, size.height, size.method.as_str(), format.subtype()),
            };
            return Ok(OpenMedia { head, file, space: None });
        }
        Err(ThumbnailError::NotAnImage.into())
    }

    /// Returns the size of the thumbnail that fits a request best, and its file.
    async fn place(&self, thumbnails: &Path, request: ThumbnailRequest, format: Format) -> (ThumbnailSize, PathBuf) {
        let sizes = &self.sizes;
        let any_size = self.dynamic || sizes.is_empty();
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
            return Err(MediaError::NoSpace { admin_contact: self.admin_contact.clone() });
        }
        let (most, spare) = (self.max_pixels, self.random.alphanumeric(8));
        self.in_turn(target.clone(), share, move || {
            if target.exists() {
                return Ok(());
            }
            thumbnail::make(&source, &target, &spare, size, format, most)?;
            delete_orphan(&source, &target);
            Ok(())
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
        let (most, spare, clock) = (self.max_pixels, self.random.alphanumeric(8), self.clock.clone());
        let made = self.in_turn(target.clone(), share, move || {
            let _permit = permit;
            if target.exists() {
                return Ok(Outcome::Made);
            }
            let begun = clock.monotonic();
            let expired = || clock.monotonic().saturating_sub(begun) > MAX_ANIMATION_TIME;
            let made = animation::make(&source, &target, &spare, size, most, expired)?;
            delete_orphan(&source, &target);
            Ok(made)
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

/// Deletes a thumbnail whose source was deleted while it was being made: who deletes both deletes the source first.
/// Blocking.
fn delete_orphan(source: &Path, thumbnail: &Path) {
    if !source.exists()
        && let Some(folder) = thumbnail.parent()
        && let Err(error) = std::fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("media store: cannot delete {}: {error}", folder.display());
    }
}
