//! Summaries of published rooms, so that listing the room directory does not load every room.

use plexus_store::{DbError, RoomNid};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::model::cache_size::CacheSize;
use crate::model::rooms::Rooms;
use crate::read::summary::RoomSummary;

/// The most bytes of summaries.
const BYTES: usize = 4 << 20;
/// About how large a summary is in memory.
const USUAL_WEIGHT: usize = 512;

/// Room to the revision it had, and what it looked like. Owned by this process: one of another revision is replaced.
pub(crate) struct Summaries {
    cache: Cache<RoomNid, (i64, RoomSummary), ByWeight>,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<RoomNid, (i64, RoomSummary)> for ByWeight {
    fn weight(&self, _: &RoomNid, (_, summary): &(i64, RoomSummary)) -> u64 {
        let texts = [&summary.name, &summary.topic, &summary.canonical_alias, &summary.avatar_url, &summary.room_type];
        let texts: usize = texts.into_iter().flatten().map(String::capacity).sum();
        (size_of::<(RoomNid, i64, RoomSummary)>() + summary.room_id.capacity() + texts) as u64
    }
}

impl Summaries {
    pub fn new() -> Self {
        Self { cache: Cache::with_weighter(BYTES / USUAL_WEIGHT, BYTES as u64, ByWeight) }
    }

    pub fn size(&self) -> CacheSize {
        CacheSize { name: "summaries", entries: self.cache.len() as u64, bytes: self.cache.weight() }
    }

    /// The summary of a room, at least as new as `revision`, which is what the database says; `None` without the room.
    pub async fn get(&self, rooms: &Rooms, nid: RoomNid, revision: i64) -> Result<Option<RoomSummary>, DbError> {
        if let Some((known, summary)) = self.cache.get(&nid)
            && known == revision
        {
            return Ok(Some(summary));
        }
        let Some(room) = rooms.get_readable_nid(nid).await? else { return Ok(None) };
        // Memory follows the database a moment later: the revision is read first, and is never newer than the view.
        let known = room.revision();
        let summary = RoomSummary::of(&room);
        self.cache.insert(nid, (known, summary.clone()));
        Ok(Some(summary))
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
        ByWeight.weight(&1, &(1, summary))
    }

    #[test]
    fn a_summary_weighs_as_much_as_its_texts() {
        let bare = weight("!a:b", None);
        assert!(bare >= size_of::<RoomSummary>() as u64);
        assert_eq!(weight("!a:b", Some(&"x".repeat(1_000))), bare + 1_000);
        assert_eq!(weight("!abcd:b", Some(&"x".repeat(1_000))), bare + 1_003);
    }
}
