//! The index of searchable texts: which events have which words.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::db::ToSql;
use crate::full_text::{IndexTerm, SearchKey};
use crate::{Any, Backend, DbError, EventNid, RoomNid, Row, Tx, first};

/// Begins the mark of a document's room. No word has such a character (they are for private use).
const ROOM_MARK: char = '\u{E000}';
/// The mark of names.
const NAME_MARK: &str = "\u{E001}";
/// The mark of topics.
const TOPIC_MARK: &str = "\u{E002}";

/// Up to how many rooms the index itself selects by their marks.
const MAX_MARKED_ROOMS: usize = 64;
/// An event that is at most this much older than the newest document, in ms, gets the next number after it.
const ORDERED_MS: i64 = 1_000;
/// The ranges over which the numbers of events with the same time are spread, in ms: nobody can fill them all.
const SPREAD_MS: [i64; 4] = [1 << 6, 1 << 12, 1 << 18, 1 << 24];
/// How many documents PostgreSQL looks at one by one before it uses the index.
const NEWEST_DOCUMENTS: u32 = 1 << 13;

/// An event with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub event_nid: EventNid,
    pub room_nid: RoomNid,
    /// Unix ms.
    pub origin_server_ts: i64,
    pub key: SearchKey,
    pub edit_nid: Option<EventNid>,
    pub words: BTreeSet<String>,
}

impl Document {
    /// Returns the words and marks, as both databases read them.
    fn indexed(&self) -> String {
        let mut text = mark(self.room_nid);
        let marks = match self.key {
            SearchKey::Body => "",
            SearchKey::Name => NAME_MARK,
            SearchKey::Topic => TOPIC_MARK,
        };
        for word in std::iter::once(marks).chain(self.words.iter().map(String::as_str)) {
            text.push(' ');
            text.push_str(word);
        }
        text
    }
}

fn mark(room: RoomNid) -> String {
    format!("{ROOM_MARK}{room}")
}

/// Adds documents at `now_ms` (Unix ms), or replaces those of their events. Each event at most once.
pub fn put(tx: &mut Tx<'_>, documents: &[Document], now_ms: u64) -> Result<(), DbError> {
    let events: Vec<EventNid> = documents.iter().map(|document| document.event_nid).collect();
    let known = numbers(tx, &events)?;
    let new: Vec<&Document> = documents.iter().filter(|document| !known.contains_key(&document.event_nid)).collect();
    let given = new_numbers(tx, &new, i64::try_from(now_ms).unwrap_or(i64::MAX))?;
    tx.insert_many_later(
        "DELETE FROM search_words WHERE rowid = $1",
        known.values().map(|number| [number.to_param()]),
    )?;
    tx.insert_many_later(
        "INSERT INTO search_documents (document_nid, event_nid, room_nid, edit_nid) VALUES ($1, $2, $3, $4)
         ON CONFLICT (document_nid) DO UPDATE SET edit_nid = excluded.edit_nid",
        documents.iter().filter_map(|document| {
            let number = known.get(&document.event_nid).or_else(|| given.get(&document.event_nid))?;
            Some([
                number.to_param(),
                document.event_nid.to_param(),
                document.room_nid.to_param(),
                document.edit_nid.to_param(),
            ])
        }),
    )?;
    let words: Vec<(i64, String)> = documents
        .iter()
        .filter_map(|document| {
            let number = known.get(&document.event_nid).or_else(|| given.get(&document.event_nid))?;
            Some((*number, document.indexed()))
        })
        .collect();
    tx.insert_many_later(
        "INSERT INTO search_words (rowid, words) VALUES ($1, CAST(CAST($2 AS TEXT) AS TSVECTOR))",
        words.iter().map(|(number, words)| [number.to_param(), words.to_param()]),
    )?;
    Ok(())
}

/// Returns the documents of events.
fn numbers(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<HashMap<EventNid, i64>, DbError> {
    let rows = tx.query(
        "SELECT event_nid, document_nid FROM search_documents WHERE event_nid = ANY($1)",
        &[&Any(events)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(rows.into_iter().collect())
}

/// Chooses numbers for new documents.
fn new_numbers(tx: &mut Tx<'_>, new: &[&Document], now_ms: i64) -> Result<HashMap<EventNid, i64>, DbError> {
    let newest: Option<i64> = tx.query_one("SELECT MAX(document_nid) FROM search_documents", &[], first)?;
    let mut newest = newest.unwrap_or(0);
    let candidates = |document: &Document| {
        let ts = document.origin_server_ts.clamp(1, now_ms.max(1));
        let spread = SPREAD_MS.into_iter().map(move |range| ts + document.event_nid.rem_euclid(range));
        std::iter::once(ts).chain(spread).collect::<Vec<i64>>()
    };
    let all: Vec<i64> = new.iter().flat_map(|document| candidates(document)).collect();
    let taken: Vec<i64> =
        tx.query("SELECT document_nid FROM search_documents WHERE document_nid = ANY($1)", &[&Any(&all)], first)?;
    let mut taken: HashSet<i64> = taken.into_iter().collect();
    let mut given = HashMap::with_capacity(new.len());
    for document in new {
        let candidates = candidates(document);
        let ts = candidates.first().copied().unwrap_or(1);
        let number = if ts > newest || newest - ts < ORDERED_MS {
            ts.max(newest + 1)
        } else {
            candidates.into_iter().find(|number| !taken.contains(number)).unwrap_or(newest + 1)
        };
        newest = newest.max(number);
        taken.insert(number);
        given.insert(document.event_nid, number);
    }
    Ok(given)
}

/// Removes the documents of events.
pub fn remove(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<(), DbError> {
    let known: Vec<i64> = numbers(tx, events)?.into_values().collect();
    remove_numbers(tx, &known)
}

fn remove_numbers(tx: &mut Tx<'_>, numbers: &[i64]) -> Result<(), DbError> {
    let each = || numbers.iter().map(|number| [number.to_param()]);
    tx.insert_many_later("DELETE FROM search_words WHERE rowid = $1", each())?;
    tx.insert_many_later("DELETE FROM search_documents WHERE document_nid = $1", each())?;
    Ok(())
}

/// Removes up to `limit` documents of a room; returns how many.
pub fn remove_of_room(tx: &mut Tx<'_>, room: RoomNid, limit: u32) -> Result<usize, DbError> {
    let query = text_query(tx.backend(), &[], &[room], &[]);
    let found: Vec<i64> = tx.query(
        "SELECT rowid FROM search_words WHERE search_words.words @@ CAST(CAST($1 AS TEXT) AS TSQUERY) LIMIT $2",
        &[&query, &limit],
        first,
    )?;
    remove_numbers(tx, &found)?;
    Ok(found.len())
}

/// Removes up to `limit` documents; returns how many.
pub fn remove_some(tx: &mut Tx<'_>, limit: u32) -> Result<usize, DbError> {
    let found: Vec<i64> =
        tx.query("SELECT document_nid FROM search_documents ORDER BY document_nid LIMIT $1", &[&limit], first)?;
    remove_numbers(tx, &found)?;
    Ok(found.len())
}

/// Whether there are documents.
pub fn has_any(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    Ok(tx.query_opt("SELECT document_nid FROM search_documents LIMIT 1", &[], first::<i64>)?.is_some())
}

/// Selects documents.
#[derive(Debug, Clone)]
pub struct Query {
    /// The words that each has.
    pub terms: Vec<IndexTerm>,
    /// The rooms in which to search.
    pub rooms: Vec<RoomNid>,
    /// The texts in which to search; empty: all.
    pub keys: Vec<SearchKey>,
    /// Only documents with smaller numbers.
    pub before: i64,
    /// The most documents.
    pub limit: u32,
}

/// A document that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    pub document_nid: i64,
    pub event_nid: EventNid,
    pub room_nid: RoomNid,
}

/// Returns the newest documents that the query selects, newest first. What the query says of dense scripts is only
/// decided by the text.
pub fn find(tx: &mut Tx<'_>, query: &Query) -> Result<Vec<Hit>, DbError> {
    if query.rooms.is_empty() || query.terms.is_empty() {
        return Ok(Vec::new());
    }
    let marked = if query.rooms.len() <= MAX_MARKED_ROOMS { &*query.rooms } else { &[] };
    let text = text_query(tx.backend(), &query.terms, marked, &query.keys);
    match tx.backend() {
        Backend::Sqlite => find_in_order(tx, query, &text),
        Backend::Postgres => {
            let found = find_among_newest(tx, query, &text)?;
            if found.len() < query.limit as usize { find_among_all(tx, query, &text) } else { Ok(found) }
        }
    }
}

/// SQLite's index is read from its end.
fn find_in_order(tx: &mut Tx<'_>, query: &Query, text: &str) -> Result<Vec<Hit>, DbError> {
    // CROSS: begins with the words.
    tx.query(
        "SELECT d.document_nid, d.event_nid, d.room_nid FROM search_words CROSS JOIN search_documents d
         WHERE search_words.words @@ CAST(CAST($1 AS TEXT) AS TSQUERY) AND search_words.rowid < $2
             AND d.document_nid = search_words.rowid AND d.room_nid = ANY($3)
         ORDER BY search_words.rowid DESC LIMIT $4",
        &[&text, &query.before, &Any(&query.rooms), &query.limit],
        hit,
    )
}

/// PostgreSQL's index knows no order: all that match are read before they are sorted. A frequent word is found sooner
/// without the index, among the newest documents.
fn find_among_newest(tx: &mut Tx<'_>, query: &Query, text: &str) -> Result<Vec<Hit>, DbError> {
    let floor: Option<i64> = tx.query_opt(
        "SELECT document_nid FROM search_documents WHERE document_nid < $1
         ORDER BY document_nid DESC LIMIT 1 OFFSET $2",
        &[&query.before, &NEWEST_DOCUMENTS],
        first,
    )?;
    // COALESCE keeps PostgreSQL from using the index of words.
    tx.query(
        "SELECT d.document_nid, d.event_nid, d.room_nid FROM search_words CROSS JOIN search_documents d
         WHERE COALESCE(search_words.words @@ CAST(CAST($1 AS TEXT) AS TSQUERY), FALSE)
             AND search_words.rowid < $2 AND search_words.rowid >= $3
             AND d.document_nid = search_words.rowid AND d.room_nid = ANY($4)
         ORDER BY search_words.rowid DESC LIMIT $5",
        &[&text, &query.before, &floor.unwrap_or(i64::MIN), &Any(&query.rooms), &query.limit],
        hit,
    )
}

fn find_among_all(tx: &mut Tx<'_>, query: &Query, text: &str) -> Result<Vec<Hit>, DbError> {
    // MATERIALIZED, and 0, keep PostgreSQL from using another index than that of words: it cannot estimate how many
    // documents a word has that is a parameter.
    tx.query(
        "WITH found AS MATERIALIZED
             (SELECT search_words.rowid AS document_nid FROM search_words
              WHERE search_words.words @@ CAST(CAST($1 AS TEXT) AS TSQUERY) AND search_words.rowid + 0 < $2)
         SELECT d.document_nid, d.event_nid, d.room_nid FROM found
         JOIN search_documents d ON d.document_nid = found.document_nid
         WHERE d.room_nid = ANY($3) ORDER BY d.document_nid DESC LIMIT $4",
        &[&text, &query.before, &Any(&query.rooms), &query.limit],
        hit,
    )
}

fn hit(row: &Row<'_>) -> Result<Hit, DbError> {
    Ok(Hit { document_nid: row.get(0)?, event_nid: row.get(1)?, room_nid: row.get(2)? })
}

/// Writes a query for the words of documents.
fn text_query(backend: Backend, terms: &[IndexTerm], rooms: &[RoomNid], keys: &[SearchKey]) -> String {
    let (and, or, prefix) = match backend {
        Backend::Sqlite => (" AND ", " OR ", " *"),
        Backend::Postgres => (" & ", " | ", ":*"),
    };
    let quoted = |word: &str| match backend {
        Backend::Sqlite => format!("\"{word}\""),
        Backend::Postgres => format!("'{word}'"),
    };
    let mut all: Vec<String> = terms
        .iter()
        .map(|term| format!("{}{}", quoted(&term.word), if term.is_prefix { prefix } else { "" }))
        .collect();
    let any_of = |words: Vec<String>| format!("({})", words.join(or));
    if !rooms.is_empty() {
        all.push(any_of(rooms.iter().map(|room| quoted(&mark(*room))).collect()));
    }
    // Most documents are messages, which have no mark.
    if !keys.is_empty() && !keys.contains(&SearchKey::Body) {
        let marks = keys.iter().map(|key| if *key == SearchKey::Name { NAME_MARK } else { TOPIC_MARK });
        all.push(any_of(marks.map(quoted).collect()));
    }
    all.join(and)
}
