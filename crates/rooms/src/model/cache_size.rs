//! The size of a cache.

/// The size of a cache, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct CacheSize {
    /// The name of the cache.
    pub name: &'static str,
    /// The number of entries.
    pub entries: u64,
    /// Their approximate size in bytes.
    pub bytes: u64,
}
