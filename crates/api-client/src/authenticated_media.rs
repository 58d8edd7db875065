//! Media by the URLs that need an access token (since Matrix 1.11).

pub(crate) mod get_content;
pub(crate) mod get_content_as_filename;
pub(crate) mod get_content_thumbnail;
pub(crate) mod get_media_config;
pub(crate) mod get_media_preview;
