//! Media by the addresses that need an access token (since Matrix 1.11).

pub mod get_content;
pub mod get_content_as_filename;
pub mod get_content_thumbnail;
