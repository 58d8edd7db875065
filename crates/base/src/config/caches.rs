use std::collections::BTreeMap;
use std::time::Duration;

use crate::schema::options;

options! {
    /// Caches in memory.
    pub struct CachesSection {
        /// How many events Synapse caches.
        moot event_cache_size: u64 = 10 << 10,
        /// How much memory caches may take.
        acts caches: Caches,
    }
}

options! {
    /// How much memory caches may take.
    pub struct Caches {
        /// The factor by which caches are larger or smaller. With a factor of 1, rooms in use may take 48 MiB, and
        /// recently read events 12 MiB.
        acts global_factor: f64 = 0.5,
        /// The factors of single caches.
        moot per_cache_factors: BTreeMap<String, f64>,
        /// Whether unused rooms are dropped from memory.
        acts expire_caches: bool = true,
        /// After which time, a minute at least; a room may stay up to twice as long.
        acts cache_entry_ttl: Duration = Duration::from_secs(1800),
        /// The old name of that time; 0 for never.
        moot expiry_time: Option<Duration>,
        /// How long a response of /sync is cached.
        moot sync_response_cache_duration: Duration = Duration::from_secs(120),
        /// Dropping entries when memory is short.
        moot cache_autotuning: CacheAutotuning,
        /// Whether the memory of caches is measured.
        moot track_memory_usage: bool = false,
    }
}

options! {
    /// Dropping entries when memory is short.
    pub struct CacheAutotuning {
        /// Entries are dropped above this size.
        moot max_cache_memory_usage: Option<u64>,
        /// Entries are dropped until this size is reached.
        moot target_cache_memory_usage: Option<u64>,
        /// Entries used within this time are not dropped.
        moot min_cache_ttl: Option<Duration>,
    }
}
