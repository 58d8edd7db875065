//! The events whose texts are searchable, as they are read for the index.

use std::collections::{BTreeSet, HashMap};

use plexus_protocol::event::relation::relates_to;
use plexus_protocol::id::EventId;
use plexus_protocol::json::Object;

use super::events::{self, unpacked};
use super::relations;
use super::search_documents::Document;
use crate::full_text::{SearchKey, index_words};
use crate::{Any, DbError, EventNid, Position, RoomNid, Row, Tx, event_key, first};

const EDIT: &str = "m.replace";
const REDACTION: &str = "m.room.redaction";
/// How many of an event's newest edits are searched for a valid one, as for the aggregations that clients get.
const MAX_EDITS: usize = 50;

/// What the index has to have of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexable {
    /// The document.
    Document(Document),
    /// Nothing: it has no searchable text, any more.
    Nothing(EventNid),
}

/// An event of a type that matters to the index.
struct Source {
    event_nid: EventNid,
    event_id: Vec<u8>,
    room_nid: RoomNid,
    is_in_timeline: bool,
    sender: String,
    origin_server_ts: i64,
    state_key: Option<String>,
    is_redacted: bool,
    event_type: String,
    /// The whole event; empty if it cannot be read.
    event: Object,
}

impl Source {
    fn content(&self) -> Option<&Object> {
        self.event.get_object("content")
    }

    fn text(&self) -> Option<(SearchKey, &str)> {
        SearchKey::text_of(&self.event_type, self.state_key.as_deref(), self.content()?)
    }

    /// Returns the stored id of the event that this one edits.
    fn edited(&self) -> Option<Vec<u8>> {
        let (target, rel_type) = relates_to(self.content()?)?;
        (self.state_key.is_none() && rel_type == EDIT).then(|| event_key::encode(&target))
    }

    /// Returns the stored id of the event that this one redacts.
    fn redacted(&self) -> Option<Vec<u8>> {
        if self.event_type != REDACTION {
            return None;
        }
        let target = self.event.get_str("redacts").or_else(|| self.content()?.get_str("redacts"))?;
        target.parse::<EventId>().ok().map(|target| event_key::encode(&target))
    }
}

fn types() -> Vec<Vec<u8>> {
    SearchKey::EVENT_TYPES.iter().chain([&REDACTION]).map(|name| name.as_bytes().to_vec()).collect()
}

/// Returns the events of a room's timeline with `after < position <= upto` that may change the index, the oldest
/// `limit`, with their positions.
pub fn newer(
    tx: &mut Tx<'_>,
    room: RoomNid,
    after: Position,
    upto: Position,
    limit: u32,
) -> Result<Vec<(Position, EventNid)>, DbError> {
    tx.query(
        "SELECT e.position, e.event_nid FROM events e JOIN event_types t ON t.type_nid = e.type_nid
         WHERE e.room_nid = $1 AND e.position > $2 AND e.position <= $3 AND t.event_type = ANY($4)
         ORDER BY e.position LIMIT $5",
        &[&room, &after, &upto, &Any(&types()), &limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns the events of timelines with `from <= event_nid < before` that have a text and are not in the index.
pub fn missing(tx: &mut Tx<'_>, from: EventNid, before: EventNid) -> Result<Vec<EventNid>, DbError> {
    tx.query(
        "SELECT e.event_nid FROM events e JOIN event_types t ON t.type_nid = e.type_nid
             LEFT JOIN search_documents d ON d.event_nid = e.event_nid
         WHERE e.event_nid >= $1 AND e.event_nid < $2 AND e.position IS NOT NULL AND t.event_type = ANY($3)
             AND d.event_nid IS NULL ORDER BY e.event_nid",
        &[&from, &before, &Any(&text_types())],
        first,
    )
}

fn text_types() -> Vec<Vec<u8>> {
    SearchKey::EVENT_TYPES.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// Returns the highest number of an event.
pub fn newest_event(tx: &mut Tx<'_>) -> Result<EventNid, DbError> {
    tx.query_one("SELECT COALESCE(MAX(event_nid), 0) FROM events", &[], first)
}

/// Returns the newest `limit` events of a room's timeline with smaller positions than `before`, newest first.
pub fn older_in_room(
    tx: &mut Tx<'_>,
    room: RoomNid,
    before: Position,
    limit: u32,
) -> Result<Vec<(Position, EventNid)>, DbError> {
    tx.query(
        "SELECT position, event_nid FROM events WHERE room_nid = $1 AND position < $2
         ORDER BY position DESC LIMIT $3",
        &[&room, &before, &limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns what the index has to have of events, and of events that they edit, edited or redact. Each event once.
pub fn indexable(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<Vec<Indexable>, DbError> {
    let mut sources = sources(tx, events)?;
    let mut others: BTreeSet<EventNid> = BTreeSet::new();
    for source in sources.values() {
        let target = source.redacted().or_else(|| source.edited());
        let Some(target) = target.map(|id| events::find(tx, &id)).transpose()?.flatten() else { continue };
        if target.room_nid == source.room_nid {
            others.insert(target.event_nid);
        }
    }
    let expired = sources.values().filter(|source| source.is_redacted).map(|source| source.event_nid);
    let redacted: Vec<EventNid> = others.iter().copied().chain(expired).collect();
    others.extend(edited_by(tx, &redacted)?);
    others.retain(|event| !sources.contains_key(event));
    let others: Vec<EventNid> = others.into_iter().collect();
    sources.extend(self::sources(tx, &others)?);
    let edits = edits(tx, &sources)?;
    let mut found = Vec::with_capacity(sources.len());
    for source in sources.values() {
        let edit = edits.get(&source.event_nid);
        found.push(match document(source, edit) {
            Some(document) => Indexable::Document(document),
            None => Indexable::Nothing(source.event_nid),
        });
    }
    Ok(found)
}

fn document(source: &Source, edit: Option<&Source>) -> Option<Document> {
    if source.is_redacted || !source.is_in_timeline || source.edited().is_some() {
        return None;
    }
    let (key, own) = source.text()?;
    let new = edit.and_then(|edit| Some((edit, SearchKey::edited_text(edit.content()?)?)));
    let words = index_words(new.map_or(own, |(_, text)| text));
    (!words.is_empty()).then(|| Document {
        event_nid: source.event_nid,
        room_nid: source.room_nid,
        origin_server_ts: source.origin_server_ts,
        key,
        edit_nid: new.map(|(edit, _)| edit.event_nid),
        words,
    })
}

/// Returns the events whose indexed texts are those of edits.
fn edited_by(tx: &mut Tx<'_>, edits: &[EventNid]) -> Result<Vec<EventNid>, DbError> {
    tx.query("SELECT event_nid FROM search_documents WHERE edit_nid = ANY($1)", &[&Any(edits)], first)
}

/// Returns the newest valid edit of each event.
fn edits(tx: &mut Tx<'_>, sources: &HashMap<EventNid, Source>) -> Result<HashMap<EventNid, Source>, DbError> {
    let targets: Vec<EditTarget> = sources
        .values()
        .filter(|source| source.event_type == "m.room.message" && source.state_key.is_none())
        .map(|source| EditTarget {
            event_nid: source.event_nid,
            event_id: source.event_id.clone(),
            room_nid: source.room_nid,
            sender: source.sender.clone(),
        })
        .collect();
    let newest = newest_edits(tx, &targets)?;
    let nids: Vec<EventNid> = newest.values().copied().collect();
    let mut read = self::sources(tx, &nids)?;
    Ok(newest.into_iter().filter_map(|(event, edit)| Some((event, read.remove(&edit)?))).collect())
}

/// A message that may have been edited.
#[derive(Debug, Clone)]
pub struct EditTarget {
    pub event_nid: EventNid,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    pub room_nid: RoomNid,
    pub sender: String,
}

/// Returns the newest valid edits of messages, by the number of the message
/// (<https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events>).
pub fn newest_edits(tx: &mut Tx<'_>, targets: &[EditTarget]) -> Result<HashMap<EventNid, EventNid>, DbError> {
    let ids: Vec<Vec<u8>> = targets.iter().map(|target| target.event_id.clone()).collect();
    let edited: Vec<Vec<u8>> = tx.query(
        "SELECT DISTINCT target FROM event_relations WHERE target = ANY($1) AND rel_type = $2",
        &[&Any(&ids), &EDIT.as_bytes()],
        first,
    )?;
    let edited: BTreeSet<Vec<u8>> = edited.into_iter().collect();
    let mut newest = HashMap::new();
    for target in targets.iter().filter(|target| edited.contains(&target.event_id)) {
        let EditTarget { event_nid, event_id, room_nid, sender } = target;
        let edits = relations::newest_of_sender(tx, *room_nid, event_id, sender, EDIT.as_bytes(), MAX_EDITS)?;
        let valid = edits.into_iter().find(|edit| edit.event_type == b"m.room.message");
        newest.extend(valid.map(|edit| (*event_nid, edit.event_nid)));
    }
    Ok(newest)
}

fn sources(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<HashMap<EventNid, Source>, DbError> {
    if events.is_empty() {
        return Ok(HashMap::new());
    }
    let found = tx.query(
        "SELECT e.event_nid, e.event_id, e.room_nid, e.position, u.user_id, e.origin_server_ts, k.state_key,
             e.redacted_by, t.event_type, e.json
         FROM events e JOIN event_types t ON t.type_nid = e.type_nid JOIN user_ids u ON u.user_nid = e.sender_nid
             LEFT JOIN state_keys k ON k.state_key_nid = e.state_key_nid
         WHERE e.event_nid = ANY($1)",
        &[&Any(events)],
        source,
    )?;
    Ok(found.into_iter().map(|source| (source.event_nid, source)).collect())
}

fn source(row: &Row<'_>) -> Result<Source, DbError> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let event = unpacked(row, 9)?.ok().and_then(|json| Object::parse(&json).ok());
    Ok(Source {
        event_nid: row.get(0)?,
        event_id: row.get(1)?,
        room_nid: row.get(2)?,
        is_in_timeline: row.get::<Option<Position>>(3)?.is_some(),
        sender: row.get(4)?,
        origin_server_ts: row.get(5)?,
        state_key: row.get::<Option<Vec<u8>>>(6)?.map(text),
        is_redacted: row.get::<Option<EventNid>>(7)?.is_some(),
        event_type: text(row.get(8)?),
        event: event.unwrap_or_default(),
    })
}
