//! The system's limit of open files, and how it is divided among connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors kept for everything but client connections: database, media, logs.
const RESERVED_FILES: u64 = 256;

/// Returns how many client connections the process can hold under its limit of open files.
pub(crate) fn connection_limit() -> u32 {
    let files = open_files();
    // A connection to another server may take two while it is opened.
    let reserved = RESERVED_FILES + 2 * federation_share(files);
    let connections = files.saturating_sub(reserved).max(files / 2).max(1);
    u32::try_from(connections).unwrap_or(u32::MAX).min(1 << 20)
}

/// Returns how many connections to other servers may be open.
pub(crate) fn federation_connections() -> usize {
    usize::try_from(federation_share(open_files())).unwrap_or(usize::MAX)
}

fn federation_share(files: u64) -> u64 {
    (files / 8).clamp(16, 1024)
}

fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX))
}

/// Raises the limit of open files as far as the system allows, or to `soft_file_limit` if that is set.
pub(crate) fn raise_file_limit(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let current = if wanted == 0 { limit.maximum } else { Some(wanted) };
    let raised = Rlimit { current, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}
