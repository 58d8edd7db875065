//! Media: what users upload, kept in a folder laid out as Synapse's media store, and its thumbnails.
//!
//! | module | what it holds |
//! |---|---|
//! | [`store`] | [`MediaStore`]: upload, download, ids handed out in advance |
//! | [`remote`] | [`Downloads`]: media of this server and of others |
//! | [`multipart`] | the body in which servers hand media to each other |
//! | [`upload`] | [`Upload`]: content on its way to the disk |
//! | [`error`] | why media cannot be stored, fetched or served |
//! | [`settings`] | how the store and downloads behave |
//! | [`thumbnail`] | choosing and making thumbnails |
//! | `space` | the room that is left on the disk |
//! | [`paths`] | where a piece of media lies |
//! | [`serving`] | what a browser may be told about content |

pub mod error;
pub mod multipart;
pub mod paths;
pub mod remote;
pub mod serving;
pub mod settings;
mod space;
pub mod store;
pub mod thumbnail;
pub mod upload;

pub use error::{Failure, FetchError, MediaError, UploadError};
pub use remote::{Downloader, Downloads, Wanted};
pub use settings::{DownloadSettings, MediaSettings, UploadLimit};
pub use store::{MediaStore, OpenMedia, ReservedMediaId};
pub use thumbnail::{Method, ThumbnailError, ThumbnailRequest, ThumbnailSize};
pub use upload::{Description, Upload};
