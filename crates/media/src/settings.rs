//! How the media store and downloads behave.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::thumbnail::ThumbnailSize;

/// How a media store behaves.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// The folder (`media_store_path`).
    pub folder: PathBuf,
    pub max_upload_bytes: u64,
    /// Images with more pixels get no thumbnail.
    pub max_image_pixels: u64,
    pub thumbnail_sizes: Vec<ThumbnailSize>,
    /// Make thumbnails in just the size that is asked for.
    pub dynamic_thumbnails: bool,
    /// Ids a user may hold that nothing was uploaded to yet.
    pub max_pending_uploads: u64,
    /// How long such an id is good for.
    pub unused_expiration: Duration,
    /// What one user may upload in a time: all of these hold.
    pub upload_limits: Vec<UploadLimit>,
    /// What is left free on the disk, in bytes.
    pub min_free_bytes: u64,
    /// How to reach the administrator when the disk is full.
    pub admin_contact: Option<String>,
}

/// The most that one user may upload in a time.
#[derive(Debug, Clone)]
pub struct UploadLimit {
    pub period: Duration,
    pub max_bytes: u64,
    /// A page about the limit, for the error.
    pub info_uri: Option<String>,
    /// Whether the user can get a higher limit, for the error.
    pub can_upgrade: bool,
}

/// How media of other servers is downloaded.
#[derive(Debug, Clone)]
pub struct DownloadSettings {
    /// Servers whose media is not fetched (`prevent_media_downloads_from`).
    pub refused: HashSet<String>,
    /// How many bytes one downloader may have fetched in a second, in the long run.
    pub bytes_per_second: u64,
    /// How many bytes one downloader may have fetched at once.
    pub burst_bytes: u64,
}
