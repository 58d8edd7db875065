//! Files and folders that only their owner can read, whatever the process's umask and the parent folder: they contain
//! messages, media, keys and addresses.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The permission bits of created files.
pub const FILE_MODE: u32 = 0o600;
/// The permission bits of created folders.
pub const FOLDER_MODE: u32 = 0o700;
/// The permission bits for users who are neither the owner nor in the file's group.
const OTHERS: u32 = 0o007;

/// Returns options that create a file as private; an existing file keeps its permissions.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// Creates a new file and opens it for writing; the file must not exist.
///
/// # Errors
/// See [`OpenOptions::open`].
pub fn create_new(path: &Path) -> io::Result<File> {
    options().write(true).create_new(true).open(path)
}

/// Creates a new folder; it must not exist.
///
/// # Errors
/// See [`DirBuilder::create`].
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Creates a folder and its missing parents; existing ones keep their permissions.
///
/// # Errors
/// See [`DirBuilder::create`].
pub fn create_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Logs a warning when every user of the machine may read or change the file or folder. An operator may have intended
/// that, and files of earlier versions or other programs may have such permissions.
pub fn warn_if_open(path: &Path) {
    let mode = path.metadata().map_or(0, |found| found.mode() & 0o777);
    if mode & OTHERS != 0 {
        tracing::warn!(
            "every user of this machine has access to {} (mode {mode:04o}); `chmod o= {}` ends that",
            path.display(),
            path.display()
        );
    }
}
