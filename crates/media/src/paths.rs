//! Where a piece of media lies: the layout of Synapse's media store, so that its folder can be taken over as it is.

use std::path::{Path, PathBuf};

use crate::thumbnail::{Format, ThumbnailSize};

/// Whether a media id can name a file: letters, digits, `-` and `_` (specification, "Content repository", mxc:// URIs).
pub fn is_valid_media_id(media_id: &str) -> bool {
    // The layout takes four letters for folders.
    (5..=255).contains(&media_id.len())
        && media_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn folder(root: &Path, kind: &str, media_id: &str) -> Option<PathBuf> {
    if !is_valid_media_id(media_id) {
        return None;
    }
    let (first, rest) = media_id.split_at_checked(2)?;
    let (second, rest) = rest.split_at_checked(2)?;
    Some(root.join(kind).join(first).join(second).join(rest))
}

/// The file of local content; `None` when the id can't name one.
pub fn content(root: &Path, media_id: &str) -> Option<PathBuf> {
    folder(root, "local_content", media_id)
}

/// The file of a thumbnail of local content; `None` when the id can't name one.
pub fn thumbnail(root: &Path, media_id: &str, size: &ThumbnailSize, format: Format) -> Option<PathBuf> {
    let name = format!("{}-{}-image-{}-{}", size.width, size.height, format.subtype(), size.method.as_str());
    Some(folder(root, "local_thumbnails", media_id)?.join(name))
}

/// The folder where uploads are written before they have their name.
pub fn incoming(root: &Path) -> PathBuf {
    root.join("incoming")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thumbnail::Method;

    #[test]
    fn layout_is_synapses() {
        let root = Path::new("/media");
        assert_eq!(
            content(root, "GerZNDnDZVjsOtardLuwfIBg"),
            Some("/media/local_content/Ge/rZ/NDnDZVjsOtardLuwfIBg".into())
        );
        let size = ThumbnailSize { width: 32, height: 24, method: Method::Crop };
        assert_eq!(
            thumbnail(root, "GerZNDnDZVjs", &size, Format::Jpeg),
            Some("/media/local_thumbnails/Ge/rZ/NDnDZVjs/32-24-image-jpeg-crop".into())
        );
    }

    #[test]
    fn an_id_never_leaves_the_folder() {
        for id in ["", "abcd", "../../../etc/passwd", "ab/cd/efgh", "abcd\0ef", "äöüab", "....."] {
            assert_eq!(content(Path::new("/media"), id), None, "{id:?}");
        }
    }
}
