//! Finding events.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::actions::upgrade::successor::predecessor;
use plexus_rooms::timeline::{self, Access, VisibleEvent};
use plexus_rooms::{Room, Rooms, TimelineEvent};
use plexus_store::full_text::{Pattern, SearchKey};
use plexus_store::repo::search_documents::{self, Hit};
use plexus_store::repo::search_sources::{self, EditTarget};
use plexus_store::{DbError, EventNid, RoomNid, event_key};
use plexus_sync::filter::RoomEventFilter;
use tokio::sync::Semaphore;

use super::index::SearchIndex;

/// The maximum number of concurrent searches: one for a frequent beginning of words reads much of the index.
const CONCURRENT_SEARCHES: usize = 2;
/// The maximum time that a search waits until the changes before it are indexed.
const MAX_INDEX_WAIT: Duration = Duration::from_secs(1);
/// How many events the index is asked for at a time, and the most of which the best are chosen.
const MAX_HITS: u32 = 500;
/// How many of them are read at a time.
const HITS_PER_READ: usize = 50;
/// How often the index is asked for one page: with a strict filter a page may have few events, or none.
const MAX_READS: usize = 10;
/// How many predecessors of a room are followed.
const MAX_PREDECESSORS: usize = 16;

/// The order of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchOrder {
    /// The best matches first, of the newest 500.
    Rank,
    /// The newest first.
    Recent,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCursor {
    /// Only documents before this one: see `search_documents` in the schema.
    pub before: i64,
    /// How many events are on earlier pages.
    pub skipped: usize,
}

/// A search.
pub struct SearchQuery {
    /// What is searched for.
    pub pattern: Pattern,
    /// The texts to be searched; empty: all.
    pub keys: Vec<SearchKey>,
    /// The rooms to be searched.
    pub rooms: Vec<RoomNid>,
    /// What else the events have to be. Its rooms are not looked at.
    pub filter: RoomEventFilter,
    /// The order.
    pub order: SearchOrder,
    /// Where the page begins; `None`: at the beginning.
    pub from: Option<SearchCursor>,
    /// The most events.
    pub limit: usize,
}

/// An event that was found.
#[derive(Clone)]
pub struct FoundEvent {
    /// Its room.
    pub room: Arc<Room>,
    /// How far the reader may read the room.
    pub access: Access,
    /// The event.
    pub event: VisibleEvent,
    /// How well it matches.
    pub rank: f64,
    highlights: BTreeSet<String>,
}

/// A page of what was found.
#[derive(Default)]
pub struct FoundPage {
    /// The events, in order.
    pub events: Vec<FoundEvent>,
    /// About how many there are on all pages.
    pub count: usize,
    /// The words by which they were found.
    pub highlights: BTreeSet<String>,
    /// Where the next page begins, if there may be one.
    pub next: Option<SearchCursor>,
}

/// Finds events.
pub struct Search {
    rooms: Arc<Rooms>,
    index: Arc<SearchIndex>,
    permits: Semaphore,
}

/// The rooms that one search has opened; `None` for those that the user may not read.
type OpenRooms = HashMap<RoomNid, Option<(Arc<Room>, Access)>>;

impl Search {
    /// Creates the service.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, index: Arc<SearchIndex>) -> Self {
        Self { rooms, index, permits: Semaphore::new(CONCURRENT_SEARCHES) }
    }

    /// Returns the rooms that a user searches: rooms that they are in or have left. If the filter names rooms, only
    /// these and their predecessors.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms(&self, user: &UserId, filter: &RoomEventFilter) -> Result<Vec<RoomNid>, DbError> {
        let memberships = self.rooms.memberships().of(user).await?;
        let was_in = |kind| matches!(kind, Membership::Join | Membership::Leave | Membership::Ban);
        let own = memberships.iter().filter(|own| was_in(own.kind) && !own.forgotten);
        let mut found: BTreeSet<RoomNid> = BTreeSet::new();
        let Some(named) = &filter.rooms else {
            let own: Vec<RoomNid> = own.map(|own| own.room).collect();
            if filter.not_rooms.is_empty() {
                return Ok(own);
            }
            found.extend(own);
            for room in self.named(&filter.not_rooms).await? {
                found.remove(&room.nid);
            }
            return Ok(found.into_iter().collect());
        };
        let own: HashSet<RoomNid> = own.map(|own| own.room).collect();
        for room in self.named(named).await? {
            if !own.contains(&room.nid) {
                continue;
            }
            found.insert(room.nid);
            let mut newest = room;
            for _ in 0..MAX_PREDECESSORS {
                let Some(old) = predecessor(&self.rooms, &newest).await? else { break };
                let forgotten = memberships.get(old.nid).is_some_and(|own| own.forgotten);
                if !forgotten && !filter.not_rooms.iter().any(|id| id == old.id.as_str()) {
                    found.insert(old.nid);
                }
                newest = old;
            }
        }
        for room in self.named(&filter.not_rooms).await? {
            found.remove(&room.nid);
        }
        Ok(found.into_iter().collect())
    }

    /// Returns the rooms with these ids that this server knows.
    async fn named(&self, ids: &[String]) -> Result<Vec<Arc<Room>>, DbError> {
        let mut rooms = Vec::new();
        for id in ids.iter().filter_map(|id| RoomId::try_from(id.as_str()).ok()) {
            rooms.extend(self.rooms.get_readable(&id).await?);
        }
        Ok(rooms)
    }

    /// Returns a page of the events that the user may see and that match.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, user: &UserId, query: &SearchQuery) -> Result<FoundPage, DbError> {
        self.index.catch_up(MAX_INDEX_WAIT).await;
        let _permit = self.permits.acquire().await.map_err(|_| DbError::Closed)?;
        let from = query.from.unwrap_or(SearchCursor { before: i64::MAX, skipped: 0 });
        let mut open = OpenRooms::new();
        match query.order {
            SearchOrder::Recent => self.recent(user, query, from, &mut open).await,
            SearchOrder::Rank => self.best(user, query, from, &mut open).await,
        }
    }

    async fn recent(
        &self,
        user: &UserId,
        query: &SearchQuery,
        from: SearchCursor,
        open: &mut OpenRooms,
    ) -> Result<FoundPage, DbError> {
        let mut events: Vec<FoundEvent> = Vec::new();
        let mut before = from.before;
        for _ in 0..MAX_READS {
            let hits = self.hits(query, before).await?;
            let is_last = hits.len() < MAX_HITS as usize;
            let mut rest = &*hits;
            while !rest.is_empty() && events.len() < query.limit {
                let (some, others) = rest.split_at(rest.len().min(HITS_PER_READ));
                for (hit, found) in self.read(user, query, some, open).await? {
                    if events.len() < query.limit {
                        events.push(found);
                        before = hit.document_nid;
                    }
                }
                if events.len() < query.limit {
                    before = some.last().map_or(before, |hit| hit.document_nid);
                }
                rest = others;
            }
            let is_full = events.len() == query.limit;
            if is_last || is_full {
                let behind = hits.iter().filter(|hit| hit.document_nid < before).count();
                let skipped = from.skipped + events.len();
                let next = (behind > 0 || !is_last).then_some(SearchCursor { before, skipped });
                return Ok(page(events, skipped + behind, next));
            }
        }
        let skipped = from.skipped + events.len();
        Ok(page(events, skipped, Some(SearchCursor { before, skipped })))
    }

    /// Chooses the best of the newest events that match.
    async fn best(
        &self,
        user: &UserId,
        query: &SearchQuery,
        from: SearchCursor,
        open: &mut OpenRooms,
    ) -> Result<FoundPage, DbError> {
        let hits = self.hits(query, from.before).await?;
        // What comes later does not move the pages.
        let before = hits.first().map_or(from.before, |hit| hit.document_nid.saturating_add(1));
        let mut all: Vec<FoundEvent> = Vec::new();
        for some in hits.chunks(HITS_PER_READ) {
            all.extend(self.read(user, query, some, open).await?.into_iter().map(|(_, found)| found));
        }
        // Stable: of equally good ones the newest comes first.
        all.sort_by(|one, other| other.rank.total_cmp(&one.rank));
        let count = all.len();
        let events: Vec<FoundEvent> = all.into_iter().skip(from.skipped).take(query.limit).collect();
        let skipped = from.skipped.saturating_add(events.len());
        let next = (skipped < count && !events.is_empty()).then_some(SearchCursor { before, skipped });
        Ok(page(events, count, next))
    }

    /// Returns the newest events before a document that match by the index.
    async fn hits(&self, query: &SearchQuery, before: i64) -> Result<Vec<Hit>, DbError> {
        let documents = search_documents::Query {
            terms: query.pattern.index_terms(),
            rooms: query.rooms.clone(),
            keys: query.keys.clone(),
            before,
            limit: MAX_HITS,
        };
        self.rooms.db.read(move |tx| search_documents::find(tx, &documents)).await
    }

    /// Reads events; returns those that the user may see and that match, in the same order.
    async fn read(
        &self,
        user: &UserId,
        query: &SearchQuery,
        hits: &[Hit],
        open: &mut OpenRooms,
    ) -> Result<Vec<(Hit, FoundEvent)>, DbError> {
        let mut by_room: HashMap<RoomNid, Vec<EventNid>> = HashMap::new();
        for hit in hits {
            by_room.entry(hit.room_nid).or_default().push(hit.event_nid);
        }
        let mut found: HashMap<EventNid, FoundEvent> = HashMap::new();
        for (nid, events) in by_room {
            if let Some((room, access)) = self.open(user, nid, open).await? {
                found.extend(matching(user, query, (&room, access), events).await?);
            }
        }
        Ok(hits.iter().filter_map(|hit| Some((*hit, found.remove(&hit.event_nid)?))).collect())
    }

    async fn open(
        &self,
        user: &UserId,
        nid: RoomNid,
        open: &mut OpenRooms,
    ) -> Result<Option<(Arc<Room>, Access)>, DbError> {
        if let Some(known) = open.get(&nid) {
            return Ok(known.clone());
        }
        let found = match self.rooms.get_readable_nid(nid).await? {
            Some(room) => timeline::access(&room, user).await?.map(|access| (room, access)),
            None => None,
        };
        open.insert(nid, found.clone());
        Ok(found)
    }
}

fn page(events: Vec<FoundEvent>, count: usize, next: Option<SearchCursor>) -> FoundPage {
    let highlights = events.iter().flat_map(|found| found.highlights.iter().cloned()).collect();
    FoundPage { events, count, highlights, next }
}

/// Returns the events of a room whose texts match, as the user sees them.
async fn matching(
    user: &UserId,
    query: &SearchQuery,
    (room, access): (&Arc<Room>, Access),
    nids: Vec<EventNid>,
) -> Result<HashMap<EventNid, FoundEvent>, DbError> {
    let last = access.upto(room.view().position);
    let mut events = timeline::by_nids(room, nids).await?;
    events.retain(|event| event.position != 0 && event.position <= last && !event.is_redacted);
    events.retain(|event| {
        let pdu = &event.pdu;
        query.filter.allows(pdu.event_type(), pdu.sender().as_str(), || pdu.content().get_str("url").is_some())
    });
    let visible = timeline::visible(user, room, events).await?;
    let edits = edits(user, room, &visible).await?;
    let mut found = HashMap::new();
    for event in visible {
        let pdu = &event.event.pdu;
        let Some((key, own)) = SearchKey::text_of(pdu.event_type(), pdu.state_key(), pdu.content()) else { continue };
        if !query.keys.is_empty() && !query.keys.contains(&key) {
            continue;
        }
        let text = match edits.get(&event.event.nid) {
            None => Some(own),
            Some(Some(edit)) => Some(SearchKey::edited_text(edit.pdu.content()).unwrap_or(own)),
            // Nobody finds it by its old text, and this reader does not see the new one.
            Some(None) => None,
        };
        if let Some(matched) = text.and_then(|text| query.pattern.matches(text)) {
            let (room, rank, highlights) = (Arc::clone(room), matched.rank, matched.highlights);
            found.insert(event.event.nid, FoundEvent { room, access, event, rank, highlights });
        }
    }
    Ok(found)
}

/// Returns the newest edits of events; `None` for edits that the user may not see.
async fn edits(
    user: &UserId,
    room: &Arc<Room>,
    events: &[VisibleEvent],
) -> Result<HashMap<EventNid, Option<Arc<TimelineEvent>>>, DbError> {
    let targets: Vec<EditTarget> = events
        .iter()
        .map(|visible| &visible.event)
        .filter(|event| event.pdu.event_type() == "m.room.message" && event.pdu.state_key().is_none())
        .map(|event| EditTarget {
            event_nid: event.nid,
            event_id: event_key::encode(event.pdu.event_id()),
            room_nid: room.nid,
            sender: event.pdu.sender().to_string(),
        })
        .collect();
    if targets.is_empty() {
        return Ok(HashMap::new());
    }
    let newest = room.db.read(move |tx| search_sources::newest_edits(tx, &targets)).await?;
    if newest.is_empty() {
        return Ok(HashMap::new());
    }
    let read = timeline::by_nids(room, newest.values().copied().collect()).await?;
    let visible = timeline::visible(user, room, read).await?;
    let by_nid: HashMap<EventNid, Arc<TimelineEvent>> =
        visible.into_iter().map(|visible| (visible.event.nid, visible.event)).collect();
    Ok(newest.into_iter().map(|(event, edit)| (event, by_nid.get(&edit).cloned())).collect())
}
