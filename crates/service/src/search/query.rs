//! Finding events.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use plexus_net::{Gates, Pass};
use plexus_protocol::id::UserId;
use plexus_rooms::timeline::{self, Access, VisibleEvent};
use plexus_rooms::{Room, Rooms, TimelineEvent};
use plexus_store::full_text::{Pattern, SearchKey};
use plexus_store::repo::search_documents::{self, Hit};
use plexus_store::repo::search_sources::{self, EditTarget};
use plexus_store::{DbError, EventNid, RoomNid, event_key};
use plexus_sync::filter::RoomEventFilter;
use plexus_sync::{SettingsCache, UserSettings};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::index::SearchIndex;

/// The maximum number of concurrent searches: one for a frequent beginning of words reads much of the index.
const CONCURRENT_SEARCHES: usize = 2;
/// The maximum number of concurrent searches of a user, whose others wait here and not before those of somebody else.
const CONCURRENT_SEARCHES_PER_USER: usize = 1;
/// The maximum time that a search waits until the changes before it are indexed.
const MAX_INDEX_WAIT: Duration = Duration::from_secs(1);
/// The time after which the index is not asked again for one page.
const MAX_SEARCH_TIME: Duration = Duration::from_secs(5);
/// How many events the index is asked for at a time.
const MAX_HITS: u32 = 500;
/// How many of them are read at a time.
const HITS_PER_READ: usize = 50;
/// The maximum number of events of which the best are chosen.
const MAX_RANKED: usize = 500;
/// How many events after a page are counted.
const MAX_COUNTED_AFTER: usize = 100;
/// How often the index is asked for one page: with a strict filter a page may have few events, or none.
const MAX_READS: usize = 10;

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
    /// The texts to be searched, each once; empty: all.
    pub keys: Vec<SearchKey>,
    /// The rooms to be searched.
    pub rooms: Vec<RoomNid>,
    /// What else the events have to be. Its rooms are not looked at.
    pub filter: RoomEventFilter,
    /// The order.
    pub order: SearchOrder,
    /// Where the page begins; `None`: at the beginning.
    pub from: Option<SearchCursor>,
    /// The most events, at least one.
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
    document_nid: i64,
    highlights: BTreeSet<String>,
}

/// A page of what was found.
#[derive(Default)]
pub struct FoundPage {
    /// The events, in order.
    pub events: Vec<FoundEvent>,
    /// About how many there are on all pages: of events that the user may see.
    pub count: usize,
    /// Where the next page begins, if there may be one.
    pub next: Option<SearchCursor>,
    /// How many events are on earlier pages.
    skipped: usize,
    /// Before which document all pages are, if the best come first.
    best_before: Option<i64>,
}

impl FoundPage {
    /// Returns the words by which the events were found.
    #[must_use]
    pub fn highlights(&self) -> BTreeSet<&str> {
        self.events.iter().flat_map(|found| found.highlights.iter().map(String::as_str)).collect()
    }

    /// Leaves all but the first `len` events to the next page.
    pub fn truncate(&mut self, len: usize) {
        if len < self.events.len() {
            self.events.truncate(len);
            self.next = self.end();
        }
    }

    /// Returns where the page begins that follows the last event.
    fn end(&self) -> Option<SearchCursor> {
        let last = self.events.last()?;
        let before = self.best_before.unwrap_or(last.document_nid);
        Some(SearchCursor { before, skipped: self.skipped + self.events.len() })
    }
}

/// Finds events.
pub struct Search {
    pub(super) rooms: Arc<Rooms>,
    index: Arc<SearchIndex>,
    settings: Arc<SettingsCache>,
    clock: Clock,
    permits: Semaphore,
    by_user: Gates,
}

/// A user's turn to search. Others wait until it is dropped.
pub struct SearchTurn<'s> {
    pub(super) search: &'s Search,
    pub(super) user: &'s UserId,
    settings: Arc<UserSettings>,
    _permit: SemaphorePermit<'s>,
    _pass: Pass,
}

/// The rooms that one search has opened; `None` for those that the user may not read.
type OpenRooms = HashMap<RoomNid, Option<(Arc<Room>, Access)>>;

/// Events that the user may see and that match, the newest first.
struct Matches {
    events: Vec<FoundEvent>,
    /// The last document that was looked at, if there may be more after it.
    rest_before: Option<i64>,
}

impl Search {
    /// Creates the service.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, index: Arc<SearchIndex>, settings: Arc<SettingsCache>, clock: Clock) -> Self {
        let permits = Semaphore::new(CONCURRENT_SEARCHES);
        Self { rooms, index, settings, clock, permits, by_user: Gates::new(CONCURRENT_SEARCHES_PER_USER) }
    }

    /// Waits until a user may search what has been sent before.
    ///
    /// # Errors
    /// When the database fails, or the server is stopping.
    pub async fn turn<'s>(&'s self, user: &'s UserId) -> Result<SearchTurn<'s>, DbError> {
        let pass = self.by_user.enter(user.as_str()).await;
        self.index.catch_up(MAX_INDEX_WAIT).await;
        let permit = self.permits.acquire().await.map_err(|_| DbError::Closed)?;
        let settings = self.settings.get(user).await?;
        Ok(SearchTurn { search: self, user, settings, _permit: permit, _pass: pass })
    }
}

impl SearchTurn<'_> {
    /// Returns the user's settings. Messages of users that they ignore are not found.
    #[must_use]
    pub fn settings(&self) -> &UserSettings {
        &self.settings
    }

    /// Returns a page of the events that the user may see and that match. Events that they may not see make no
    /// difference to it, unless there are thousands: then the page may end early.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, query: &SearchQuery) -> Result<FoundPage, DbError> {
        let from = query.from.unwrap_or(SearchCursor { before: i64::MAX, skipped: 0 });
        match query.order {
            SearchOrder::Recent => self.recent(query, from).await,
            SearchOrder::Rank => self.best(query, from).await,
        }
    }

    async fn recent(&self, query: &SearchQuery, from: SearchCursor) -> Result<FoundPage, DbError> {
        let Matches { mut events, rest_before } =
            self.matches(query, from.before, query.limit + MAX_COUNTED_AFTER).await?;
        let (found, skipped) = (events.len(), from.skipped);
        events.truncate(query.limit);
        let is_full = events.len() == query.limit;
        let mut page = FoundPage { events, count: skipped + found, next: None, skipped, best_before: None };
        page.next = match rest_before {
            None if found == page.events.len() => None,
            Some(before) if !is_full => Some(SearchCursor { before, skipped: page.count }),
            _ => page.end(),
        };
        Ok(page)
    }

    /// Chooses the best of the newest events that match.
    async fn best(&self, query: &SearchQuery, from: SearchCursor) -> Result<FoundPage, DbError> {
        let mut all = self.matches(query, from.before, MAX_RANKED).await?.events;
        let count = all.len();
        // What comes later does not move the pages.
        let best_before = all.first().map(|newest| newest.document_nid.saturating_add(1));
        // Stable: of equally good ones the newest comes first.
        all.sort_by(|one, other| other.rank.total_cmp(&one.rank));
        let events: Vec<FoundEvent> = all.into_iter().skip(from.skipped).take(query.limit).collect();
        let is_last = from.skipped + events.len() >= count;
        let mut page = FoundPage { events, count, next: None, skipped: from.skipped, best_before };
        page.next = page.end().filter(|_| !is_last);
        Ok(page)
    }

    /// Returns the newest `limit` events before a document that the user may see and that match.
    async fn matches(&self, query: &SearchQuery, before: i64, limit: usize) -> Result<Matches, DbError> {
        let clock = &self.search.clock;
        let until = clock.monotonic() + MAX_SEARCH_TIME;
        let (mut open, mut events, mut before) = (OpenRooms::new(), Vec::new(), before);
        for _ in 0..MAX_READS {
            let hits = self.hits(query, before).await?;
            for some in hits.chunks(HITS_PER_READ) {
                before = some.last().map_or(before, |hit| hit.document_nid);
                events.extend(self.read(query, some, &mut open).await?);
                if events.len() >= limit {
                    events.truncate(limit);
                    return Ok(Matches { events, rest_before: Some(before) });
                }
            }
            if hits.len() < MAX_HITS as usize {
                return Ok(Matches { events, rest_before: None });
            }
            if clock.monotonic() >= until {
                break;
            }
        }
        Ok(Matches { events, rest_before: Some(before) })
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
        self.search.rooms.db.read(move |tx| search_documents::find(tx, &documents)).await
    }

    /// Reads events; returns those that the user may see and that match, in the same order.
    async fn read(&self, query: &SearchQuery, hits: &[Hit], open: &mut OpenRooms) -> Result<Vec<FoundEvent>, DbError> {
        let mut by_room: HashMap<RoomNid, HashMap<EventNid, i64>> = HashMap::new();
        for hit in hits {
            by_room.entry(hit.room_nid).or_default().insert(hit.event_nid, hit.document_nid);
        }
        let mut found: HashMap<EventNid, FoundEvent> = HashMap::new();
        for (nid, documents) in by_room {
            if let Some((room, access)) = self.open(nid, open).await? {
                found.extend(self.matching(query, &room, access, &documents).await?);
            }
        }
        Ok(hits.iter().filter_map(|hit| found.remove(&hit.event_nid)).collect())
    }

    async fn open(&self, nid: RoomNid, open: &mut OpenRooms) -> Result<Option<(Arc<Room>, Access)>, DbError> {
        if let Some(known) = open.get(&nid) {
            return Ok(known.clone());
        }
        let found = match self.search.rooms.get_readable_nid(nid).await? {
            Some(room) => timeline::access(&room, self.user).await?.map(|access| (room, access)),
            None => None,
        };
        open.insert(nid, found.clone());
        Ok(found)
    }

    /// Returns those of a room's events, which have these documents, whose texts match, as the user sees them.
    async fn matching(
        &self,
        query: &SearchQuery,
        room: &Arc<Room>,
        access: Access,
        documents: &HashMap<EventNid, i64>,
    ) -> Result<HashMap<EventNid, FoundEvent>, DbError> {
        let last = access.upto(room.view().position);
        let mut events = timeline::by_nids(room, documents.keys().copied().collect()).await?;
        events.retain(|event| event.position != 0 && event.position <= last && !event.is_redacted);
        events.retain(|event| {
            let pdu = &event.pdu;
            self.settings.shows_event(pdu)
                && query
                    .filter
                    .allows(pdu.event_type(), pdu.sender().as_str(), || pdu.content().get_str("url").is_some())
        });
        let visible = timeline::visible(self.user, room, events).await?;
        let edits = edits(self.user, room, &visible).await?;
        let mut found = HashMap::new();
        for event in visible {
            let Some(&document_nid) = documents.get(&event.event.nid) else { continue };
            let pdu = &event.event.pdu;
            let Some((key, own)) = SearchKey::text_of(pdu.event_type(), pdu.state_key(), pdu.content()) else {
                continue;
            };
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
                found.insert(event.event.nid, FoundEvent { room, access, event, rank, document_nid, highlights });
            }
        }
        Ok(found)
    }
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
