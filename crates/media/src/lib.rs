//! Media: what users upload, kept in a folder laid out as Synapse's media store, and its thumbnails.
//!
//! | module | what it holds |
//! |---|---|
//! | [`store`] | [`MediaStore`]: upload, download, reserved ids |
//! | [`remote`] | [`Downloads`]: media of this server and of others |
//! | [`multipart`] | the bodies in which servers send each other media |
//! | [`previews`] | [`Previews`]: previews of links |
//! | [`storage`] | [`Storages`]: the folder, and storage providers beside it |
//! | [`retention`] | [`MediaRetention`]: deletes media that nobody has requested for long |
//! | `last_access` | when media was last requested |
//! | [`upload`] | [`Upload`]: content that is being written to the disk |
//! | [`error`] | why media cannot be stored, fetched or served |
//! | [`settings`] | settings of the store and of downloads |
//! | [`thumbnail`] | choosing and making thumbnails |
//! | `space` | free space on the disk |
//! | [`paths`] | the paths of media files |
//! | [`serving`] | headers of media responses |
//! | [`byte_range`] | the Range header of requests |

#![warn(missing_docs, unreachable_pub)]

pub mod byte_range;
pub mod error;
mod last_access;
pub mod multipart;
pub mod paths;
pub mod previews;
pub mod remote;
pub mod retention;
pub mod serving;
pub mod settings;
mod space;
pub mod storage;
pub mod store;
pub mod thumbnail;
pub mod upload;

pub use byte_range::ByteRange;
pub use error::{Failure, FetchError, MediaError, StorageError, UploadError};
pub use previews::{
    OembedProviders, PreviewCleanup, PreviewCounts, PreviewError, PreviewParts, PreviewSettings, PreviewTasks,
    Previews, ProvidersError, UrlPatternError, UrlPatterns, UrlRules,
};
pub use remote::{Downloader, Downloads, Wanted};
pub use retention::{Lifetimes, MediaRetention};
pub use settings::{DownloadSettings, MediaSettings, UploadLimit};
pub use storage::{FileTasks, ProviderSettings, Storages, StoragesParts};
pub use store::{MediaHead, MediaStore, MediaStoreParts, OpenMedia, ReservedMediaId};
pub use thumbnail::{Method, ThumbnailError, ThumbnailRequest, ThumbnailSize};
pub use upload::{Description, Upload};
