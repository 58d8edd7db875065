//! Media with an access token.

mod get_content;
mod get_content_thumbnail;
pub(crate) mod get_media_preview;
