//! Media: upload, and download by the URLs that need no token (Matrix before 1.11).

pub(crate) mod create_content;
pub(crate) mod create_content_async;
pub(crate) mod create_mxc_uri;
pub(crate) mod get_content;
pub(crate) mod get_content_as_filename;
pub(crate) mod get_content_thumbnail;
pub(crate) mod get_media_config;
pub(crate) mod get_media_preview;
pub(crate) mod receive;
pub(crate) mod serve;
