//! What clients search for.

use plexus_http::ApiError;
use plexus_http::body::in_words;
use plexus_protocol::id::RoomId;
use plexus_service::search::{SearchCursor, SearchOrder};
use plexus_store::full_text::SearchKey;
use plexus_sync::filter::RoomEventFilter;
use serde::Deserialize;
use serde_json::{Map, Value};

const DEFAULT_LIMIT: usize = 10;
/// The most results of a page. Each may have a context.
const MAX_LIMIT: usize = 100;
/// As in the specification.
const DEFAULT_CONTEXT: usize = 5;
/// The most events of a context, before and after the result each.
const MAX_CONTEXT: usize = 20;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(super) search_categories: Categories,
}

#[derive(Debug, Deserialize)]
pub(super) struct Categories {
    pub(super) room_events: Option<RoomEvents>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RoomEvents {
    search_term: String,
    keys: Option<Vec<String>>,
    filter: Option<Map<String, Value>>,
    order_by: Option<String>,
    event_context: Option<EventContext>,
    #[serde(default)]
    include_state: bool,
    #[serde(default)]
    groupings: Groupings,
}

#[derive(Debug, Deserialize)]
struct EventContext {
    before_limit: Option<u64>,
    after_limit: Option<u64>,
    #[serde(default)]
    include_profile: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Groupings {
    group_by: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    key: String,
}

/// What clients search for, checked.
pub(super) struct Criteria {
    pub(super) term: String,
    /// Each once.
    pub(super) keys: Vec<SearchKey>,
    pub(super) filter: RoomEventFilter,
    pub(super) limit: usize,
    pub(super) order: SearchOrder,
    pub(super) context: Option<ContextSize>,
    pub(super) include_state: bool,
    pub(super) by_room: bool,
    pub(super) by_sender: bool,
}

/// How much of the timeline around a result is wanted.
#[derive(Clone, Copy)]
pub(super) struct ContextSize {
    pub(super) before: usize,
    pub(super) after: usize,
    pub(super) include_profile: bool,
}

impl TryFrom<RoomEvents> for Criteria {
    type Error = ApiError;

    fn try_from(events: RoomEvents) -> Result<Self, ApiError> {
        let parse = |key: &String| {
            SearchKey::parse(key).ok_or_else(|| ApiError::invalid_param(format!("{key} is not a key to search")))
        };
        let order = match events.order_by.as_deref() {
            None | Some("rank") => SearchOrder::Rank,
            Some("recent") => SearchOrder::Recent,
            Some(other) => return Err(ApiError::invalid_param(format!("Invalid order by: {other}"))),
        };
        let groups: Vec<&str> = events.groupings.group_by.iter().map(|group| group.key.as_str()).collect();
        if let Some(other) = groups.iter().find(|key| !matches!(**key, "room_id" | "sender")) {
            return Err(ApiError::invalid_param(format!("Invalid group by key: {other}")));
        }
        let filter = match events.filter {
            None => RoomEventFilter::default(),
            Some(filter) => RoomEventFilter::parse(&Value::Object(filter).to_string())
                .map_err(|error| ApiError::bad_json(format!("filter: {}", in_words(&error.to_string()))))?,
        };
        let mut keys: Vec<SearchKey> = Vec::new();
        for key in events.keys.iter().flatten() {
            let key = parse(key)?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(Self {
            keys,
            limit: bounded(filter.event.limit, DEFAULT_LIMIT, MAX_LIMIT).max(1),
            context: events.event_context.map(|context| ContextSize {
                before: bounded(context.before_limit, DEFAULT_CONTEXT, MAX_CONTEXT),
                after: bounded(context.after_limit, DEFAULT_CONTEXT, MAX_CONTEXT),
                include_profile: context.include_profile,
            }),
            by_room: groups.contains(&"room_id"),
            by_sender: groups.contains(&"sender"),
            term: events.search_term,
            include_state: events.include_state,
            filter,
            order,
        })
    }
}

fn bounded(limit: Option<u64>, default: usize, most: usize) -> usize {
    limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(most).min(most))
}

/// Where a page begins, as in `next_batch`.
pub(super) struct Batch {
    pub(super) cursor: SearchCursor,
    /// The group that is paged.
    pub(super) room: Option<RoomId>,
}

impl Batch {
    /// Parses a `next_batch`.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let parse = || {
            let mut parts = text.splitn(3, '_');
            let before = parts.next()?.parse().ok()?;
            // Bounded, so that no sum with it is too large.
            let skipped: u32 = parts.next()?.parse().ok()?;
            let skipped = usize::try_from(skipped).ok()?;
            let room = parts.next().map(RoomId::try_from).transpose().ok()?;
            Some(Self { cursor: SearchCursor { before, skipped }, room })
        };
        parse().ok_or_else(|| ApiError::invalid_param("next_batch is not from an earlier response"))
    }

    /// Writes a `next_batch`.
    pub(super) fn write(cursor: SearchCursor, room: Option<&RoomId>) -> String {
        let SearchCursor { before, skipped } = cursor;
        match room {
            Some(room) => format!("{before}_{skipped}_{room}"),
            None => format!("{before}_{skipped}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_results_and_keys_are_looked_up_once() {
        let keys = ["content.body", "content.name", "content.body"].repeat(100);
        let request = serde_json::json!({ "search_term": "x", "keys": keys, "filter": { "limit": 0 } });
        let criteria = Criteria::try_from(serde_json::from_value::<RoomEvents>(request).unwrap()).unwrap();
        assert_eq!((criteria.limit, criteria.keys), (1, vec![SearchKey::Body, SearchKey::Name]));
    }

    #[test]
    fn batches_are_read_as_they_were_written() {
        let cursor = SearchCursor { before: -5, skipped: 12 };
        let room = RoomId::try_from("!a_b:example.org").unwrap();
        for room in [None, Some(room)] {
            let batch = Batch::parse(&Batch::write(cursor, room.as_ref())).unwrap();
            assert_eq!((batch.cursor, batch.room), (cursor, room));
        }
        for text in ["", "1", "1_", "_1", "1_-1", "a_b", "1_2_x", "99999999999999999999_1", "1_2_", "1_4294967296"] {
            assert!(Batch::parse(text).is_err(), "{text}");
        }
    }
}
