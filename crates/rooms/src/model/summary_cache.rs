//! Summaries of published rooms, so that listing the room directory does not load every room.

use plexus_store::RoomNid;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::model::cache_size::CacheSize;
use crate::model::room_summary::RoomSummary;

/// The maximum size of the cache, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// The size of a typical summary in memory, in bytes.
const USUAL_WEIGHT: usize = 512;

/// Summaries by room, each with the room's revision. Owned by this process: a summary of an older revision is not used.
pub(crate) struct SummaryCache {
    cache: Cache<RoomNid, (i64, RoomSummary), SummaryWeighter>,
}

#[derive(Clone)]
struct SummaryWeighter;

impl Weighter<RoomNid, (i64, RoomSummary)> for SummaryWeighter {
    fn weight(&self, _: &RoomNid, (_, summary): &(i64, RoomSummary)) -> u64 {
        let texts = [&summary.name, &summary.topic, &summary.canonical_alias, &summary.avatar_url, &summary.room_type];
        let texts: usize = texts.into_iter().flatten().map(String::capacity).sum();
        (size_of::<(RoomNid, i64, RoomSummary)>() + summary.room_id.capacity() + texts) as u64
    }
}

impl SummaryCache {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::with_weighter(MAX_BYTES / USUAL_WEIGHT, MAX_BYTES as u64, SummaryWeighter) }
    }

    pub(crate) fn size(&self) -> CacheSize {
        CacheSize { name: "summaries", entries: self.cache.len() as u64, bytes: self.cache.weight() }
    }

    /// Returns the summary of a room as of a revision.
    pub(crate) fn get(&self, nid: RoomNid, revision: i64) -> Option<RoomSummary> {
        self.cache.get(&nid).filter(|(cached, _)| *cached == revision).map(|(_, summary)| summary)
    }

    /// Keeps a summary that is at least as new as `revision`.
    pub(crate) fn insert(&self, nid: RoomNid, revision: i64, summary: RoomSummary) {
        self.cache.insert(nid, (revision, summary));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(room_id: &str, topic: Option<&str>) -> u64 {
        let summary = RoomSummary {
            room_id: room_id.to_owned(),
            name: None,
            topic: topic.map(str::to_owned),
            canonical_alias: None,
            avatar_url: None,
            num_joined_members: 2,
            world_readable: false,
            guest_can_join: false,
            join_rule: "public",
            room_type: None,
        };
        SummaryWeighter.weight(&1, &(1, summary))
    }

    #[test]
    fn a_summary_weighs_as_much_as_its_texts() {
        let bare = weight("!a:b", None);
        assert!(bare >= size_of::<RoomSummary>() as u64);
        assert_eq!(weight("!a:b", Some(&"x".repeat(1_000))), bare + 1_000);
        assert_eq!(weight("!abcd:b", Some(&"x".repeat(1_000))), bare + 1_003);
    }
}
