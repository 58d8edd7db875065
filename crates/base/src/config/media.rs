use std::path::PathBuf;
use std::time::Duration;

use super::{IpRange, StorageProvider};
use crate::schema::{MapReader, choice, options};

options! {
    /// Uploaded files, thumbnails, files of other servers and previews of links.
    pub struct MediaSection checked by check_media {
        /// Whether reading media uploaded from now on requires an access token.
        acts enable_authenticated_media: bool = true,
        /// Whether the media API is served.
        refused(
            "media would be looked for and stored in media_store_path although another program keeps it; \
             remove it if media_store_path holds the media"
        ) enable_media_repo: bool = true,
        /// Whether media is stored in `media_store_path`, besides the storage providers.
        refused(
            "media would be stored in media_store_path all the same; remove it to accept that"
        ) enable_local_media_storage: bool = true,
        /// The folder of the media store.
        acts media_store_path: PathBuf = PathBuf::from(MediaSection::DEFAULT_STORE),
        /// The most uploads that one user may have announced but not made.
        acts max_pending_media_uploads: u32 = 5,
        /// How long an announced upload may be outstanding.
        acts unused_expiration_time: Duration = Duration::from_secs(24 * 3600),
        /// Additional storage for media: a folder or an S3 bucket, which gets copies of what is in `media_store_path`.
        /// Media that is missing there is brought back from the first provider that has it.
        acts media_storage_providers: Vec<StorageProvider>,
        /// The largest file that may be uploaded.
        acts max_upload_size: u64 = 50 << 20,
        /// Upload quotas per user and time window. All entries apply.
        acts media_upload_limits: Vec<UploadLimit>,
        /// The disk space of `media_store_path` that is left free. With less, uploads are refused; with less than twice
        /// as much, media of other servers is not fetched and no thumbnails are made. 0 for no limit. Synapse has no
        /// such option.
        acts media_min_free_space: u64 = 512 << 20,
        /// The most pixels of an image for which thumbnails are made.
        acts max_image_pixels: u64 = 32 << 20,
        /// How much media of other servers one user, and one address, may have fetched at once.
        acts remote_media_download_burst_count: u64 = 500 << 20,
        /// How much media of other servers one user, and one address, may have fetched per second in the long run.
        acts remote_media_download_per_second: u64 = 87 << 10,
        /// Servers whose media is not fetched.
        acts prevent_media_downloads_from: Vec<String>,
        /// Whether thumbnails are made in the requested size instead of the nearest of `thumbnail_sizes`.
        acts dynamic_thumbnails: bool = false,
        /// The sizes of thumbnails.
        acts thumbnail_sizes: Vec<ThumbnailSize> = default_thumbnails(),
        /// How long media is kept.
        acts media_retention: MediaRetention,
        /// Whether links are previewed. The server then fetches pages that users name.
        acts url_preview_enabled: bool = false,
        /// Addresses that previews must not contact; required when previews are enabled without a proxy.
        acts url_preview_ip_range_blacklist: Option<Vec<IpRange>>,
        /// Exceptions from `url_preview_ip_range_blacklist`.
        acts url_preview_ip_range_whitelist: Vec<IpRange>,
        /// Links without previews. A link must match all members of an entry.
        acts url_preview_url_blacklist: Vec<UrlPattern>,
        /// The largest page, and the largest image in it, that is fetched for a preview.
        acts max_spider_size: u64 = 10 << 20,
        /// The languages requested for a preview.
        acts url_preview_accept_language: Vec<String> = vec!["en".to_owned()],
        /// Sites that describe their pages by oEmbed.
        acts oembed: Oembed,
        /// The old form of a `file_system` entry in `media_storage_providers` that stores local and remote media.
        acts backup_media_store_path: Option<PathBuf>,
        /// Whether an upload waits until it is stored in `backup_media_store_path`.
        acts synchronous_backup_media_store: bool = false,
    }
}

fn check_media(section: MediaSection, map: &mut MapReader<'_, '_>) -> MediaSection {
    let blacklisted = section.url_preview_ip_range_blacklist.is_some();
    if section.url_preview_enabled
        && !blacklisted
        && !map.sets("http_proxy")
        && !map.sets("https_proxy")
    {
        map.error(
            "url_preview_ip_range_blacklist",
            "required when url_preview_enabled is true, but not set; otherwise users could look into this server's \
             network",
        );
    }
    if section.backup_media_store_path.is_some() && !section.media_storage_providers.is_empty() {
        map.error(
            "backup_media_store_path",
            "set together with media_storage_providers; allowed is one of the two",
        );
    }
    section
}

/// Reports regular expressions that are none.
fn check_url_pattern(pattern: UrlPattern, map: &mut MapReader<'_, '_>) -> UrlPattern {
    let UrlPattern { username, password, netloc, hostname, port, scheme, path, query, fragment } = &pattern;
    for (name, member) in [
        ("username", username),
        ("password", password),
        ("netloc", netloc),
        ("hostname", hostname),
        ("port", port),
        ("scheme", scheme),
        ("path", path),
        ("query", query),
        ("fragment", fragment),
    ] {
        let expression = member.as_ref().filter(|member| member.starts_with('^'));
        if let Some(Err(error)) = expression.map(|expression| regex::Regex::new(expression)) {
            let reason = error.to_string().lines().last().unwrap_or_default().to_owned();
            map.error(name, format!("not a regular expression: {reason}"));
        }
    }
    pattern
}

impl MediaSection {
    /// The folder of the media store when `media_store_path` is not set.
    pub const DEFAULT_STORE: &str = "media_store";
}

options! {
    /// An upload quota per user and time window.
    pub struct UploadLimit {
        /// The time window.
        acts time_period: Duration,
        /// The quota.
        acts max_size: u64,
        /// A page about the limit, for the error message.
        acts info_uri: Option<String>,
        /// Whether the user can buy more, for the error message.
        acts can_upgrade: bool = false,
    }
}

options! {
    /// A size of thumbnails.
    pub struct ThumbnailSize {
        /// The width in pixels.
        acts width: u32,
        /// The height in pixels.
        acts height: u32,
        /// How the image is scaled.
        acts method: ThumbnailMethod,
    }
}

choice! {
    /// How an image is scaled to a thumbnail.
    pub enum ThumbnailMethod {
        /// Fills the size; the rest is cut off.
        Crop = "crop",
        /// Fits within the size; nothing is cut off.
        Scale = "scale",
    }
}

fn default_thumbnails() -> Vec<ThumbnailSize> {
    use ThumbnailMethod::{Crop, Scale};
    let sizes = [
        (32, 32, Crop),
        (96, 96, Crop),
        (320, 240, Scale),
        (640, 480, Scale),
        (800, 600, Scale),
    ];
    let size = |(width, height, method)| ThumbnailSize {
        width,
        height,
        method,
    };
    sizes.map(size).into()
}

options! {
    /// How long media is kept.
    pub struct MediaRetention {
        /// Uploads of local users that were not read for this long are deleted, except avatars of users and rooms;
        /// never when not set.
        acts local_media_lifetime: Option<Duration>,
        /// Copies of other servers' media that were not read for this long are deleted; never when not set.
        acts remote_media_lifetime: Option<Duration>,
    }
}

options! {
    /// A pattern of links. Members are globs, or regular expressions when they begin with `^`.
    pub struct UrlPattern checked by check_url_pattern {
        /// The user name in the link.
        acts username: Option<String>,
        /// The password in the link.
        acts password: Option<String>,
        /// The host and port.
        acts netloc: Option<String>,
        /// The host.
        acts hostname: Option<String>,
        /// The port.
        acts port: Option<String>,
        /// The scheme.
        acts scheme: Option<String>,
        /// The path.
        acts path: Option<String>,
        /// The query.
        acts query: Option<String>,
        /// The fragment.
        acts fragment: Option<String>,
    }
}

options! {
    /// Sites that describe their pages by oEmbed.
    pub struct Oembed {
        /// Whether the built-in list of sites is left out.
        acts disable_default_providers: bool = false,
        /// Files with further sites, in the format of oembed.com's providers.json.
        acts additional_providers: Vec<PathBuf>,
    }
}
