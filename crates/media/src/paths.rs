//! The paths of media files: the layout of Synapse's media store, so that its folder can be used as it is.

use std::path::{Path, PathBuf};

use plexus_store::repo::media_files::MediaFile;

use crate::thumbnail::{Format, ThumbnailSize};

/// What the names of uploads begin with whose ids are known. The names of others are letters and digits.
const UPLOAD_OF_ID: &str = "local-";

/// Whether a media id can be a file's name: letters, digits, `-` and `_` (specification, "Content repository", mxc://
/// URIs).
pub fn is_valid_media_id(media_id: &str) -> bool {
    // The layout uses four letters for folders.
    (5..=255).contains(&media_id.len())
        && media_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The folders of content in a storage.
pub const CONTENT_FOLDERS: [&str; 3] = [LOCAL_CONTENT, REMOTE_CONTENT, IMAGES_OF_PREVIEWS];

const LOCAL_CONTENT: &str = "local_content";
const REMOTE_CONTENT: &str = "remote_content";
const IMAGES_OF_PREVIEWS: &str = "url_cache";

fn folder(root: &Path, kind: &str, media_id: &str) -> Option<PathBuf> {
    if !is_valid_media_id(media_id) {
        return None;
    }
    let (first, rest) = media_id.split_at_checked(2)?;
    let (second, rest) = rest.split_at_checked(2)?;
    Some(root.join(kind).join(first).join(second).join(rest))
}

/// Returns the file of local content; `None` if the id cannot be a file's name.
pub fn content(root: &Path, media_id: &str) -> Option<PathBuf> {
    folder(root, LOCAL_CONTENT, media_id)
}

/// Returns the folder of the thumbnails of local content; `None` if the id cannot be a file's name.
pub fn thumbnails(root: &Path, media_id: &str) -> Option<PathBuf> {
    folder(root, "local_thumbnails", media_id)
}

/// Returns the file of another server's content; `None` if the names cannot be in a path.
pub fn remote_content(root: &Path, server: &str, file_id: &str) -> Option<PathBuf> {
    of_server(root, REMOTE_CONTENT, server, file_id)
}

/// Returns the folder of the thumbnails of another server's content; `None` if the names cannot be in a path.
pub fn remote_thumbnails(root: &Path, server: &str, file_id: &str) -> Option<PathBuf> {
    of_server(root, "remote_thumbnail", server, file_id)
}

fn of_server(root: &Path, kind: &str, server: &str, file_id: &str) -> Option<PathBuf> {
    // A server's name has no slashes, but it can be made of dots.
    let named = server.bytes().any(|byte| byte != b'.') && !server.contains('/');
    if named { folder(&root.join(kind), server, file_id) } else { None }
}

/// Returns the folder of a date and the name in it that the id of a preview's image (`2026-11-30_abc`) stands for.
fn of_preview(media_id: &str) -> Option<(&str, &str)> {
    let (date, name) = media_id.split_once('_')?;
    let is_date = date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    (is_date && !name.is_empty() && is_valid_media_id(media_id)).then_some((date, name))
}

/// Returns a file of media; `None` if its names cannot be in a path.
pub fn content_of(root: &Path, file: &MediaFile) -> Option<PathBuf> {
    if let Some((date, name)) = of_preview(&file.file_id).filter(|_| file.server_name.is_none()) {
        return Some(root.join(IMAGES_OF_PREVIEWS).join(date).join(name));
    }
    match &file.server_name {
        None => content(root, &file.file_id),
        Some(server) => remote_content(root, server, &file.file_id),
    }
}

/// Returns the folder of the thumbnails of a file; `None` if its names cannot be in a path.
pub fn thumbnails_of(root: &Path, file: &MediaFile) -> Option<PathBuf> {
    if let Some((date, name)) = of_preview(&file.file_id).filter(|_| file.server_name.is_none()) {
        return Some(root.join("url_cache_thumbnails").join(date).join(name));
    }
    match &file.server_name {
        None => thumbnails(root, &file.file_id),
        Some(server) => remote_thumbnails(root, server, &file.file_id),
    }
}

/// Returns the name of a thumbnail's file.
pub fn thumbnail_name(size: &ThumbnailSize, format: Format) -> String {
    format!("{}-{}-image-{}-{}", size.width, size.height, format.subtype(), size.method.as_str())
}

/// Returns the folder for uploads that do not have their final name yet.
pub fn incoming(root: &Path) -> PathBuf {
    root.join("incoming")
}

/// Returns the name of an upload to `media_id` in the folder for uploads.
pub fn upload_name(media_id: &str) -> String {
    format!("{UPLOAD_OF_ID}{media_id}")
}

/// Returns the media id of an upload with this name.
pub fn id_of_upload(name: &str) -> Option<&str> {
    name.strip_prefix(UPLOAD_OF_ID)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        assert_eq!(thumbnails(root, "GerZNDnDZVjs"), Some("/media/local_thumbnails/Ge/rZ/NDnDZVjs".into()));
        let size = ThumbnailSize { width: 32, height: 24, method: Method::Crop };
        assert_eq!(thumbnail_name(&size, Format::Jpeg), "32-24-image-jpeg-crop");
        assert_eq!(
            remote_content(root, "[::1]:8448", "GerZNDnDZVjs"),
            Some("/media/remote_content/[::1]:8448/Ge/rZ/NDnDZVjs".into())
        );
        assert_eq!(
            remote_thumbnails(root, "a.example", "GerZNDnDZVjs"),
            Some("/media/remote_thumbnail/a.example/Ge/rZ/NDnDZVjs".into())
        );
    }

    #[test]
    fn images_of_previews_are_in_folders_by_date() {
        let path = |id| content_of(Path::new("/media"), &MediaFile::local(id));
        assert_eq!(path("2026-11-30_abcdef"), Some("/media/url_cache/2026-11-30/abcdef".into()));
        let file = MediaFile::local("2026-11-30_abcdef");
        let thumbnails = thumbnails_of(Path::new("/media"), &file);
        assert_eq!(thumbnails, Some("/media/url_cache_thumbnails/2026-11-30/abcdef".into()));
        assert_eq!(path("2026-11-3x_abcdef"), Some("/media/local_content/20/26/-11-3x_abcdef".into()));
        assert_eq!(path("2026-11-30_../../x"), None);
        let remote = content_of(Path::new("/media"), &MediaFile::remote("a.example", "2026-11-30_abcdef"));
        assert_eq!(remote, Some("/media/remote_content/a.example/20/26/-11-30_abcdef".into()));
    }

    #[test]
    fn an_id_never_leaves_the_folder() {
        for id in ["", "abcd", "../../../etc/passwd", "ab/cd/efgh", "abcd\0ef", "äöüab", "....."] {
            assert_eq!(content(Path::new("/media"), id), None, "{id:?}");
        }
        for server in ["", ".", "..", "../a", "/"] {
            assert_eq!(remote_content(Path::new("/media"), server, "GerZNDnDZVjs"), None, "{server:?}");
        }
    }
}
