//! Media: upload, and download by the addresses that need no token (Matrix before 1.11).

pub mod create_content;
pub mod create_content_async;
pub mod create_mxc_uri;
pub mod get_content;
pub mod get_content_as_filename;
pub mod get_content_thumbnail;
pub mod get_media_config;
pub mod receive;
pub mod serve;
