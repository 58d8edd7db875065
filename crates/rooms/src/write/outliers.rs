//! Outliers: events that are stored only because others refer to them, such as auth chains and states from other
//! servers.
//!
//! They are judged by their auth events. An event with a missing auth event is not stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::auth::{self, AuthEvent};
use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events::Verdict;
use plexus_store::{Database, DbError, EventNid, RoomNid, Tx, event_key, pdu_json, repo};

use crate::model::interner::{Lookups, NewTexts};
use crate::model::room::Room;
use crate::model::{auth_index, event_lookup};
use crate::write::event_rows::EventRow;
use crate::write::writer::RoomWriter;

/// The number of outliers of one transaction, between which other writers get their turn.
const EVENTS_PER_TRANSACTION: usize = 1_000;

/// Events that have been judged by their auth events, and are not stored yet.
#[derive(Default)]
pub struct JudgedOutliers {
    outliers: Vec<Outlier>,
    allowing: HashMap<EventId, AuthEvent>,
}

struct Outlier {
    pdu: Pdu,
    packed: Vec<u8>,
    verdict: Verdict,
}

impl JudgedOutliers {
    /// Returns the ids of the events, in their order.
    pub fn event_ids(&self) -> impl Iterator<Item = &EventId> {
        self.outliers.iter().map(|outlier| outlier.pdu.event_id())
    }
}

/// Judges and stores events of a room, whose signatures are valid. Stored events are not changed.
///
/// # Errors
/// When the database fails, or a stored event cannot be read.
pub async fn store(writer: &RoomWriter, room: &Room, pdus: Vec<Pdu>) -> Result<(), DbError> {
    let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
    let known = event_lookup::known(&writer.db, &ids).await?;
    let pdus: Vec<Pdu> =
        pdus.into_iter().filter(|pdu| pdu.room_id() == &room.id && !known.contains_key(pdu.event_id())).collect();
    for pdus in auth_events_first(pdus).chunks(EVENTS_PER_TRANSACTION) {
        let packed = pdus.iter().map(|pdu| Ok((pdu.clone(), pdu_json::pack(pdu.json())?)));
        let packed = packed.collect::<Result<_, DbError>>()?;
        let judged = judge(&writer.db, room, packed, &JudgedOutliers::default()).await?;
        write_judged(writer, room.nid, judged.into()).await?;
    }
    Ok(())
}

/// Judges events by their auth events. They are given with their packed JSON, auth events first. `before` are events
/// that were judged earlier and may not be stored yet.
///
/// # Errors
/// When the database fails, or a stored event cannot be read.
pub async fn judge(
    db: &Database,
    room: &Room,
    pdus: Vec<(Pdu, Vec<u8>)>,
    before: &JudgedOutliers,
) -> Result<JudgedOutliers, DbError> {
    let among: HashSet<&EventId> = pdus.iter().map(|(pdu, _)| pdu.event_id()).collect();
    let named = |pdu: &Pdu| pdu.auth_events().iter().cloned().chain(create_event_of(pdu)).collect::<Vec<_>>();
    let mut others: Vec<EventId> =
        pdus.iter().flat_map(|(pdu, _)| named(pdu)).filter(|id| !among.contains(id)).collect();
    others.sort_unstable();
    others.dedup();
    let (recent, stored): (Vec<_>, Vec<_>) = others.into_iter().partition(|id| before.allowing.contains_key(id));
    let mut known = auth_index::auth_events(db, (room.nid, room.version), &stored).await?;
    known.extend(
        recent
            .into_iter()
            .filter_map(|id| before.allowing.get_key_value(&id))
            .map(|(id, event)| (id.clone(), event.clone())),
    );
    let mut judged = JudgedOutliers::default();
    for (pdu, packed) in pdus {
        let Some(verdict) = by_auth_events(room.version, &pdu, &known) else { continue };
        let event = AuthEvent { pdu: pdu.clone(), rejected: verdict == Verdict::Rejected };
        known.insert(pdu.event_id().clone(), event.clone());
        judged.allowing.insert(pdu.event_id().clone(), event);
        judged.outliers.push(Outlier { pdu, packed, verdict });
    }
    Ok(judged)
}

/// Stores judged events. Returns the number and the verdict with which each is stored, in their order.
///
/// # Errors
/// When the database fails.
pub async fn write_judged(
    writer: &RoomWriter,
    room: RoomNid,
    judged: Arc<JudgedOutliers>,
) -> Result<Vec<(EventNid, Verdict)>, DbError> {
    if judged.outliers.is_empty() {
        return Ok(Vec::new());
    }
    let first = writer.nids.take(2 * i64::try_from(judged.outliers.len()).unwrap_or(i64::MAX / 2)).await?;
    let (memory, writing) = (&writer.rooms.memory, Arc::clone(&writer.rooms.memory));
    let written = writer.db.write(move |tx| write(tx, (room, first), &judged.outliers, writing.interner.lookups()));
    let (stored, texts) = written.await?;
    memory.interner.keep(texts);
    Ok(stored)
}

/// Returns the verdict on an event by its auth events; `None` if one of them is missing.
pub(crate) fn by_auth_events(version: RoomVersion, pdu: &Pdu, known: &HashMap<EventId, AuthEvent>) -> Option<Verdict> {
    if pdu.auth_events().iter().any(|id| !known.contains_key(id)) {
        return None;
    }
    let rules = version.rules();
    let checked = auth::check_state_independent(rules, pdu, &|id| known.get(id).cloned()).and_then(|()| {
        let named = || pdu.auth_events().iter().cloned().chain(create_event_of(pdu));
        auth::check(rules, pdu, &|event_type, state_key| {
            named()
                .filter_map(|id| known.get(&id))
                .find(|it| it.pdu.is_state(event_type, state_key))
                .map(|it| it.pdu.clone())
        })
    });
    Some(match checked {
        Ok(()) => Verdict::Accepted,
        Err(reason) => {
            tracing::info!(event = %pdu.event_id(), room = %pdu.room_id(), "rejected by its auth events: {reason}");
            Verdict::Rejected
        }
    })
}

/// Returns the create event that the room id names
/// (<https://spec.matrix.org/v1.19/rooms/v12/#room-ids-as-hashes-of-the-create-event>).
pub fn create_event_of(pdu: &Pdu) -> Option<EventId> {
    pdu.room_id().create_event_id().filter(|id| id != pdu.event_id())
}

/// Orders events so that auth events come first, without duplicates. Events in a cycle, which hashes make impossible
/// since room version 3, are left out.
pub fn auth_events_first(pdus: Vec<Pdu>) -> Vec<Pdu> {
    in_order(pdus, |pdu| pdu.auth_events().iter().cloned().chain(create_event_of(pdu)).collect())
}

/// Orders events so that prev events come first, without duplicates or cycles.
pub fn prev_events_first(pdus: Vec<Pdu>) -> Vec<Pdu> {
    in_order(pdus, |pdu| pdu.prev_events().to_vec())
}

fn in_order(pdus: Vec<Pdu>, before: impl Fn(&Pdu) -> Vec<EventId>) -> Vec<Pdu> {
    let mut left: HashMap<EventId, Pdu> = HashMap::with_capacity(pdus.len());
    let pdus: Vec<Pdu> =
        pdus.into_iter().filter(|pdu| left.insert(pdu.event_id().clone(), pdu.clone()).is_none()).collect();
    let mut after: HashMap<EventId, Vec<EventId>> = HashMap::new();
    let mut waiting: HashMap<EventId, usize> = HashMap::new();
    let mut ready = Vec::new();
    for pdu in &pdus {
        let mut among: Vec<EventId> = before(pdu).into_iter().filter(|id| left.contains_key(id)).collect();
        among.sort_unstable();
        among.dedup();
        if among.is_empty() {
            ready.push(pdu.event_id().clone());
        }
        waiting.insert(pdu.event_id().clone(), among.len());
        for id in among {
            after.entry(id).or_default().push(pdu.event_id().clone());
        }
    }
    ready.reverse();
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(id) = ready.pop() {
        ordered.extend(left.remove(&id));
        for next in after.remove(&id).unwrap_or_default() {
            let Some(count) = waiting.get_mut(&next) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.push(next);
            }
        }
    }
    ordered
}

fn write(
    tx: &mut Tx<'_>,
    (room, first): (RoomNid, EventNid),
    outliers: &[Outlier],
    mut lookups: Lookups<'_>,
) -> Result<(Vec<(EventNid, Verdict)>, NewTexts), DbError> {
    let keys: Vec<Vec<u8>> = outliers.iter().map(|outlier| event_key::encode(outlier.pdu.event_id())).collect();
    // Another task may have stored some of them.
    let known =
        repo::events::known(tx, &keys)?.into_iter().map(|known| (known.event_id, (known.event_nid, known.verdict)));
    let known: HashMap<Vec<u8>, (EventNid, Verdict)> = known.collect();
    let pdus = || outliers.iter().map(|outlier| &outlier.pdu);
    lookups.prepare(tx, pdus().map(|pdu| pdu.sender().as_str()), pdus().filter_map(Pdu::state_key))?;
    let mut stored = Vec::with_capacity(outliers.len());
    let mut rows = Vec::with_capacity(outliers.len());
    for ((Outlier { pdu, packed, verdict }, key), at) in outliers.iter().zip(keys).zip(0..) {
        if let Some(known) = known.get(&key) {
            stored.push(*known);
            continue;
        }
        let event_nid = first + 2 * at;
        stored.push((event_nid, *verdict));
        let row = EventRow {
            nid: event_nid,
            room,
            pdu,
            packed,
            verdict: *verdict,
            snapshot_before: None,
            position: None,
            late: false,
        };
        rows.push(row.build(tx, &mut lookups)?);
    }
    repo::events::insert(tx, &rows)?;
    Ok((stored, lookups.into_new()))
}
