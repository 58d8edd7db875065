//! Free space on the disk: media must not take the last of it, which the database needs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many bytes are written to a file before the free space is checked again: each upload in progress may take this
/// much of the reserve.
pub(crate) const CHECK_EVERY_BYTES: u64 = 4 << 20;

/// The reason for storing media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storing {
    /// A user of this server uploaded it.
    Upload,
    /// It is of another server, or a thumbnail, and can be had again. Such files leave twice the reserve, so that users
    /// can still upload when these have taken all that they may.
    Copy,
}

/// Refuses to store media on a disk that is nearly full.
#[derive(Debug)]
pub(crate) struct FreeSpace {
    folder: PathBuf,
    /// In bytes; 0 when the free space is not checked (`media_min_free_space`).
    reserve: u64,
    /// Whether the last check found too little: for one log line when that begins, and one when it ends.
    low: AtomicBool,
}

impl FreeSpace {
    pub(crate) fn new(folder: &Path, reserve: u64) -> Self {
        Self { folder: folder.to_owned(), reserve, low: AtomicBool::new(false) }
    }

    /// Whether more can be stored. True if the system does not say how much space is free.
    pub(crate) async fn has_room(self: &Arc<Self>, storing: Storing) -> bool {
        let wanted = match storing {
            Storing::Upload => self.reserve,
            Storing::Copy => self.reserve.saturating_mul(2),
        };
        if wanted == 0 {
            return true;
        }
        let space = Arc::clone(self);
        let free = tokio::task::spawn_blocking(move || free_bytes(&space.folder)).await;
        let free = match free.map_err(io::Error::other).flatten() {
            Ok(free) => free,
            Err(error) => {
                tracing::debug!("media store: {}: cannot tell the free space: {error}", self.folder.display());
                return true;
            }
        };
        self.report(free);
        free >= wanted
    }

    fn report(&self, free: u64) {
        let low = free < self.reserve.saturating_mul(2);
        if self.low.swap(low, Ordering::Relaxed) == low {
            return;
        }
        let folder = self.folder.display();
        if low {
            tracing::error!(
                "media store: {folder}: only {free} bytes are free: media of other servers is not fetched any more, \
                 and below {} bytes uploads are refused (media_min_free_space)",
                self.reserve
            );
        } else {
            tracing::info!("media store: {folder}: {free} bytes are free again");
        }
    }
}

/// Returns the bytes that an unprivileged process may still write to the disk of `folder`. Blocking.
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn copies_leave_more_than_uploads() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path()).unwrap();
        // Others may write to the disk meanwhile.
        for (reserve, upload, copy) in [(0, true, true), (free / 4, true, true), (free / 4 * 3, true, false)] {
            let space = Arc::new(FreeSpace::new(folder.path(), reserve));
            assert_eq!(space.has_room(Storing::Upload).await, upload, "{reserve} of {free}");
            assert_eq!(space.has_room(Storing::Copy).await, copy, "{reserve} of {free}");
        }
        let space = Arc::new(FreeSpace::new(folder.path(), u64::MAX));
        assert!(!space.has_room(Storing::Upload).await && !space.has_room(Storing::Copy).await);
        let nowhere = Arc::new(FreeSpace::new(&folder.path().join("nowhere"), 1));
        assert!(nowhere.has_room(Storing::Upload).await);
    }
}
