//! Files and folders that nobody but their owner can read, whatever the process's umask and the folder they are in:
//! they hold messages, media, keys and addresses.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The permission bits of files made here.
pub const FILE_MODE: u32 = 0o600;
/// The permission bits of folders made here.
pub const FOLDER_MODE: u32 = 0o700;
/// The permission bits that let users in who are neither the owner nor in the file's group.
const OTHERS: u32 = 0o007;

/// Options that make a file private if they make it; one that exists stays as it is.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// Makes a new file and opens it to write to it; the file must not exist.
///
/// # Errors
/// As [`OpenOptions::open`].
pub fn create_new(path: &Path) -> io::Result<File> {
    options().write(true).create_new(true).open(path)
}

/// Makes a new folder; it must not exist.
///
/// # Errors
/// As [`DirBuilder::create`].
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Makes a folder and those above it that are missing; those that exist stay as they are.
///
/// # Errors
/// As [`DirBuilder::create`].
pub fn create_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Logs a warning when every user of this machine may read or change the file or folder, which an operator may have
/// meant, and which files made by earlier versions or by other programs may have come with.
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
