//! A cache of state events, within a budget of bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plexus_protocol::event::Pdu;
use plexus_store::EventNid;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::model::cache_size::CacheSize;
use crate::model::state_map::OWN_CONTENT_ONLY;
use crate::model::timeline_event::TimelineEvent;

/// The size of a typical state event in memory, in bytes.
const USUAL_WEIGHT: usize = 2_048;

/// Events by number. Owned by this process, which follows the commits and drops events that may have been redacted.
///
/// An event is read from the database before it is inserted, and may be redacted in between. [`EventCache::start_read`]
/// before the read lets [`EventCache::insert`] notice.
pub struct EventCache {
    cache: Cache<EventNid, Cached, EventWeighter>,
    /// Incremented before a redacted event is removed.
    removals: AtomicU64,
    /// The source of the rooms' counts of redactions. A room that is loaded again continues from here: it never gets a
    /// count from before a redaction again, while events that were read before it may still be in the cache.
    redactions: AtomicU64,
}

/// The first count of redactions.
const FIRST_COUNT: u64 = OWN_CONTENT_ONLY + 1;

/// An event and its room's count of redactions before it was read.
#[derive(Clone)]
struct Cached {
    event: Arc<TimelineEvent>,
    as_of: u64,
}

/// The state of the cache before an event is read.
#[derive(Clone, Copy)]
pub struct ReadStamp(u64);

#[derive(Clone)]
struct EventWeighter;

impl Weighter<EventNid, Cached> for EventWeighter {
    fn weight(&self, _: &EventNid, cached: &Cached) -> u64 {
        cached.event.weight() as u64
    }
}

impl EventCache {
    /// Creates a cache of at most `bytes`.
    pub fn new(bytes: usize) -> Self {
        let cache = Cache::with_weighter(bytes / USUAL_WEIGHT, bytes as u64, EventWeighter);
        Self { cache, removals: AtomicU64::new(0), redactions: AtomicU64::new(FIRST_COUNT) }
    }

    pub fn size(&self) -> CacheSize {
        CacheSize { name: "events", entries: self.cache.len() as u64, bytes: self.cache.weight() }
    }

    /// Returns an event, unless a redaction may have changed what it shows of others since it was read. `as_of` is its
    /// room's count of redactions.
    pub fn get(&self, nid: EventNid, as_of: u64) -> Option<Arc<TimelineEvent>> {
        self.cache.get(&nid).filter(|cached| cached.as_of == as_of).map(|cached| cached.event)
    }

    /// Returns an event as it federates.
    pub fn pdu(&self, nid: EventNid) -> Option<Pdu> {
        self.cache.get(&nid).map(|cached| cached.event.pdu.clone())
    }

    /// Returns the state of the cache, for [`EventCache::insert`]. Called before an event is read.
    pub fn start_read(&self) -> ReadStamp {
        ReadStamp(self.removals.load(Ordering::SeqCst))
    }

    /// Inserts an event, unless an event was redacted since the reading began. `as_of` is its room's count of
    /// redactions before the reading.
    pub fn insert(&self, event: &Arc<TimelineEvent>, as_of: u64, reading: ReadStamp) {
        self.cache.insert(event.nid, Cached { event: Arc::clone(event), as_of });
        if self.start_read().0 != reading.0 {
            self.cache.remove(&event.nid);
        }
    }

    /// Returns the count of redactions of a room that is about to be read.
    pub fn redactions(&self) -> u64 {
        self.redactions.load(Ordering::SeqCst)
    }

    /// Returns a count of redactions that no room has had before.
    pub fn next_redactions(&self) -> u64 {
        self.redactions.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Drops all events: any of them may have been redacted.
    pub fn clear(&self) {
        self.removals.fetch_add(1, Ordering::SeqCst);
        self.cache.clear();
    }

    /// Removes an event that has been redacted.
    pub fn remove(&self, nid: EventNid) {
        self.removals.fetch_add(1, Ordering::SeqCst);
        self.cache.remove(&nid);
    }
}
