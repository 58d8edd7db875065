use std::collections::BTreeMap;
use std::time::Duration;

use crate::schema::options;

options! {
    /// What is kept in memory.
    pub struct CachesSection {
        /// How many events Synapse keeps in memory.
        moot event_cache_size: u64 = 10 << 10,
        /// How much memory caches may take.
        acts caches: Caches,
    }
}

options! {
    /// How much memory caches may take.
    pub struct Caches {
        /// The factor by which caches are made larger or smaller. With a factor of 1, rooms in use may take 48 MiB, and
        /// events that were read lately 12 MiB.
        acts global_factor: f64 = 0.5,
        /// The factors of single caches.
        moot per_cache_factors: BTreeMap<String, f64>,
        /// Whether rooms that nobody has used for a time are dropped from memory.
        acts expire_caches: bool = true,
        /// That time, a minute at least; a room may stay up to twice as long.
        acts cache_entry_ttl: Duration = Duration::from_secs(1800),
        /// That time, by an old name; 0 for never.
        moot expiry_time: Option<Duration>,
        /// How long an answer of /sync is kept.
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
        /// Entries are dropped above this.
        moot max_cache_memory_usage: Option<u64>,
        /// Until this.
        moot target_cache_memory_usage: Option<u64>,
        /// Except those used within this time.
        moot min_cache_ttl: Option<Duration>,
    }
}
