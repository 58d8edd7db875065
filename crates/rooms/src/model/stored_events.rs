//! Reads events from the database, as clients are shown them. Events that cannot be read are logged and left out.

mod unreadable;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::rules::RoomVersion;
use plexus_protocol::visibility::HistoryVisibility;
use plexus_store::pdu_json::UnpackError;
use plexus_store::repo::events::StoredEvent;
use plexus_store::{Database, DbError, EventNid, Tx, event_key, readable, repo};

use crate::model::event_cache::EventCache;
use crate::model::state_map::StateEntry;
use crate::model::timeline_event::{Replaced, TimelineEvent, Transaction};

/// The visibility of an unreadable `m.room.history_visibility` event: the strictest.
pub const UNREADABLE_VISIBILITY: HistoryVisibility = HistoryVisibility::Joined;

/// Returns the event of a state entry. `as_of` is the room's count of redactions. The membership of an unreadable
/// member event is known, so that it is returned as if it had been redacted.
///
/// # Errors
/// When the database fails, or another event cannot be read.
pub async fn state_event(
    db: &Database,
    cache: &EventCache,
    version: RoomVersion,
    entry: &StateEntry,
    as_of: u64,
) -> Result<Arc<TimelineEvent>, DbError> {
    if let Some(event) = entry.event(as_of).or_else(|| cache.get(entry.nid, as_of)) {
        return Ok(event);
    }
    let (nid, reading) = (entry.nid, cache.start_read());
    let member = entry.membership.map(|membership| (Arc::clone(&entry.state_key), membership));
    let read = db.read(move |tx| {
        let event = by_nids(tx, version, &[nid])?.pop();
        match (event, member) {
            (None, Some((user, membership))) => unreadable::member(tx, version, nid, &user, membership),
            (event, _) => Ok::<_, DbError>(event),
        }
    });
    let event = read.await?.ok_or_else(|| bad_event(nid, "it is not there or cannot be read"))?;
    cache.insert(&event, as_of, reading);
    entry.remember(&event, as_of);
    Ok(event)
}

/// Returns events by number, in no particular order.
///
/// # Errors
/// When one of the events is missing or cannot be read.
pub(crate) fn all_by_nids(
    tx: &mut Tx<'_>,
    version: RoomVersion,
    nids: &[EventNid],
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let events = by_nids(tx, version, nids)?;
    let found: HashSet<EventNid> = events.iter().map(|event| event.nid).collect();
    match nids.iter().find(|nid| !found.contains(nid)) {
        None => Ok(events),
        Some(missing) => Err(bad_event(*missing, "it is not there or cannot be read")),
    }
}

/// Returns events by number, in no particular order. Missing and unreadable events are left out.
pub fn by_nids(tx: &mut Tx<'_>, version: RoomVersion, nids: &[EventNid]) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let stored = repo::events::by_nids(tx, nids)?;
    hydrate(tx, version, stored)
}

/// Adds the replaced event and the redaction to each of some stored events, in their order. Unreadable events are left
/// out.
pub(crate) fn hydrate(
    tx: &mut Tx<'_>,
    version: RoomVersion,
    rows: Vec<StoredEvent>,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let mut others: Vec<EventNid> =
        rows.iter().flat_map(|row| row.replaced.into_iter().chain(row.redacted_by)).collect();
    others.sort_unstable();
    others.dedup();
    let mut related = HashMap::with_capacity(others.len());
    if !others.is_empty() {
        for row in repo::events::by_nids(tx, &others)? {
            if let Some(pdu) = readable(parse(&row, version)) {
                related.insert(row.event_nid, (row, pdu));
            }
        }
    }
    let rows: Vec<(StoredEvent, Pdu)> = rows
        .into_iter()
        .filter_map(|row| {
            let pdu = shown(&row, &readable(parse(&row, version))?);
            Some((row, pdu))
        })
        .collect();
    let may_be_sticky = rows.iter().filter(|(_, pdu)| pdu.sticky_duration_ms().is_some());
    let may_be_sticky: Vec<EventNid> = may_be_sticky.map(|(row, _)| row.event_nid).collect();
    let sticky_until =
        if may_be_sticky.is_empty() { HashMap::new() } else { repo::sticky_events::expiry_of(tx, &may_be_sticky)? };
    let events = rows
        .into_iter()
        .map(|(row, pdu)| {
            let replaced = row
                .replaced
                .and_then(|nid| related.get(&nid))
                .map(|(row, pdu)| Box::new(Replaced::of(row.event_nid, &shown(row, pdu))));
            let redaction = row.redacted_by.and_then(|nid| related.get(&nid));
            let redacted_because = redaction.map(|(row, pdu)| {
                Arc::new(TimelineEvent::new(row.event_nid, row.position.unwrap_or(0), shown(row, pdu), None, None))
            });
            let transaction = row.transaction.and_then(|(device_id, txn_id)| {
                let txn_id = String::from_utf8(txn_id).ok()?.into();
                Some(Box::new(Transaction { device_id: device_id.into(), txn_id }))
            });
            let mut event = TimelineEvent::new(row.event_nid, row.position.unwrap_or(0), pdu, replaced, transaction);
            event.replaced_unreadable = row.replaced.is_some() && event.replaced.is_none();
            event.is_redacted = row.redacted_by.is_some();
            event.redacted_because = redacted_because;
            event.sticky_until_ms = sticky_until.get(&row.event_nid).copied();
            Arc::new(event)
        })
        .collect();
    Ok(events)
}

/// Returns the event as it is shown: redacted, if it has been. `pdu` is the parsed JSON of the row.
fn shown(row: &StoredEvent, pdu: &Pdu) -> Pdu {
    if row.redacted_by.is_some() { redact::redact(pdu) } else { pdu.clone() }
}

/// Parses the event of a row, without redacting it.
///
/// # Errors
/// When it cannot be read.
pub fn parse(row: &StoredEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    // Invites to a room that this server is not in may name different versions, some of them wrong.
    let other =
        |error| [RoomVersion::V1, RoomVersion::V11].into_iter().find_map(|it| parse_as(row, it).ok()).ok_or(error);
    parse_as(row, version).or_else(other)
}

fn parse_as(row: &StoredEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    parse_event((row.event_nid, &row.event_id), &row.json, version)
}

/// Parses the event with this number and stored id.
///
/// # Errors
/// When it cannot be read.
pub fn parse_event(
    (nid, event_id): (EventNid, &[u8]),
    json: &Result<String, UnpackError>,
    version: RoomVersion,
) -> Result<Pdu, DbError> {
    let event_id = event_key::decode(event_id, version).map_err(|error| bad_event(nid, error))?;
    let json = json.as_ref().map_err(|error| bad_event(nid, error))?;
    Pdu::from_stored(json, event_id, version).map_err(|error| bad_event(nid, error))
}

/// Returns the error of a row of `events` that cannot be read.
pub fn bad_event(nid: EventNid, problem: impl std::fmt::Display) -> DbError {
    DbError::bad_data(format!("events, event_nid {nid}"), problem)
}
