//! State events that were read from the database, within a budget of bytes.

use std::sync::Arc;

use plexus_store::EventNid;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::registry::CacheSize;
use crate::timeline_event::TimelineEvent;

/// About how large a state event is in memory.
const USUAL_WEIGHT: usize = 2_048;

/// Event number to event.
pub(crate) struct EventCache {
    cache: Cache<EventNid, Arc<TimelineEvent>, ByWeight>,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<EventNid, Arc<TimelineEvent>> for ByWeight {
    fn weight(&self, _: &EventNid, event: &Arc<TimelineEvent>) -> u64 {
        event.weight() as u64
    }
}

impl EventCache {
    /// A cache of at most `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { cache: Cache::with_weighter(bytes / USUAL_WEIGHT, bytes as u64, ByWeight) }
    }

    pub fn size(&self) -> CacheSize {
        CacheSize { name: "events", entries: self.cache.len() as u64, bytes: self.cache.weight() }
    }

    pub fn get(&self, nid: EventNid) -> Option<Arc<TimelineEvent>> {
        self.cache.get(&nid)
    }

    pub fn insert(&self, event: &Arc<TimelineEvent>) {
        self.cache.insert(event.nid, Arc::clone(event));
    }

    /// Forgets an event that has been redacted.
    pub fn remove(&self, nid: EventNid) {
        self.cache.remove(&nid);
    }
}
