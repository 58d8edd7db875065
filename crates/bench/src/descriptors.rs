//! File descriptors: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit to `wanted`, or as far as allowed.
pub(crate) fn raise(wanted: usize) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = wanted as u64;
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        // If that fails, opening connections reports it.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: limit.maximum });
    }
}
