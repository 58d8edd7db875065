//! Media: what users upload, kept in a folder laid out as Synapse's media store, and its thumbnails.
//!
//! | module | what it holds |
//! |---|---|
//! | [`store`] | [`MediaStore`]: upload, download, ids handed out in advance |
//! | [`remote`] | [`Downloads`]: media of this server and of others |
//! | [`multipart`] | the body in which servers hand media to each other |
//! | [`upload`] | [`Upload`]: content on its way to the disk |
//! | [`thumbnail`] | choosing and making thumbnails |
//! | `space` | the room that is left on the disk |
//! | [`paths`] | where a piece of media lies |
//! | [`serving`] | what a browser may be told about content |

pub mod multipart;
pub mod paths;
pub mod remote;
pub mod serving;
mod space;
pub mod store;
pub mod thumbnail;
pub mod upload;

pub use remote::{DownloadSettings, Downloader, Downloads, Failure, FetchError, Wanted};
pub use store::{MediaError, MediaSettings, MediaStore, OpenMedia, ReservedMediaId, UploadLimit};
pub use thumbnail::{Method, ThumbnailError, ThumbnailRequest, ThumbnailSize};
pub use upload::{Description, Upload};
