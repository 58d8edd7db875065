//! Settings of the media store and of downloads.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::thumbnail::ThumbnailSize;

/// Settings of a media store.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// The folder (`media_store_path`).
    pub folder: PathBuf,
    /// The largest content that is accepted.
    pub max_upload_bytes: u64,
    /// Images with more pixels get no thumbnail.
    pub max_image_pixels: u64,
    /// The sizes in which thumbnails are made.
    pub thumbnail_sizes: Vec<ThumbnailSize>,
    /// Whether thumbnails are made in exactly the requested size.
    pub dynamic_thumbnails: bool,
    /// The most ids of a user to which nothing was uploaded yet.
    pub max_pending_uploads: u64,
    /// How long such an id is valid.
    pub unused_expiration: Duration,
    /// Upload quotas of each user; all of them apply.
    pub upload_limits: Vec<UploadLimit>,
    /// How much of the disk stays free, in bytes.
    pub min_free_bytes: u64,
    /// How to reach the administrator; part of the error when the disk is full.
    pub admin_contact: Option<String>,
}

/// An upload quota per user and time window.
#[derive(Debug, Clone)]
pub struct UploadLimit {
    /// The length of the window.
    pub period: Duration,
    /// The most bytes within it.
    pub max_bytes: u64,
    /// A page about the quota, for the error.
    pub info_uri: Option<String>,
    /// Whether the user can get a higher quota, for the error.
    pub can_upgrade: bool,
}

/// Settings of downloads from other servers.
#[derive(Debug, Clone)]
pub struct DownloadSettings {
    /// Servers whose media is not fetched (`prevent_media_downloads_from`).
    pub refused: HashSet<String>,
    /// The bytes that one downloader may have fetched per second, in the long run.
    pub bytes_per_second: u64,
    /// The bytes that one downloader may have fetched at once.
    pub burst_bytes: u64,
}
