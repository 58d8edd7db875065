//! Checks whether files and folders can be created where the configuration says, without creating them.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

/// Returns why the folder `path` cannot be used; missing folders are created later.
pub(super) fn folder_problem(path: &Path) -> Option<String> {
    let mut existing = path;
    while !existing.as_os_str().is_empty() && fs::symlink_metadata(existing).is_err() {
        existing = existing.parent().unwrap_or(Path::new(""));
    }
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    unwritable_folder(existing).map(|problem| {
        if existing == path { problem } else { format!("the folder {} cannot be made: {problem}", path.display()) }
    })
}

/// Returns why the file `path` can be neither written nor created. Its folder is not created.
pub fn file_problem(path: &Path) -> Option<String> {
    let cannot = |why: &str| Some(format!("cannot write {}: {why}", path.display()));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => cannot("it is a folder"),
        Ok(_) => match access(path, Access::WRITE_OK) {
            Ok(()) => None,
            Err(error) => cannot(&error.to_string()),
        },
        Err(_) => unwritable_folder(folder_of(path)).and_then(|problem| cannot(&problem)),
    }
}

/// Returns why no unix socket can be created at `path`; an existing one is replaced.
pub(super) fn socket_problem(path: &Path) -> Option<String> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Some(format!("cannot listen on {}: a file that is not a socket is in the way", path.display()))
        }
        _ => {
            unwritable_folder(folder_of(path)).map(|problem| format!("cannot listen on {}: {problem}", path.display()))
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritable_folder(folder: &Path) -> Option<String> {
    let problem = |why: &str| Some(format!("{} {why}", folder.display()));
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => problem("is not a folder"),
        Ok(_) => match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => None,
            Err(error) => problem(&format!("cannot be written to: {error}")),
        },
        Err(_) => problem("does not exist; make that folder"),
    }
}
