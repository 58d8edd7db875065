//! From the database into memory: rooms, and events as clients are given them.
//!
//! An event that cannot be read is left out of what is shown, with a line in the log; what decides who may do what is
//! not read without it.

mod unreadable;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::power_levels::PowerLevels;
use plexus_protocol::rules::RoomVersion;
use plexus_store::pdu_json::UnpackError;
use plexus_store::repo::events::StoredEvent;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{Database, DbError, EventNid, RoomNid, Tx, event_key, readable, repo};

use crate::model::event_cache::EventCache;
use crate::model::head::{Extremity, Tip};
use crate::model::membership_kind::MembershipKind;
use crate::model::room::{CurrentState, HistoryVisibility, JoinRule, RoomView};
use crate::model::servers::Servers;
use crate::model::sorted::SortedSet;
use crate::model::state_map::{StateEntry, StateMap};
use crate::model::timeline_event::{Replaced, TimelineEvent, Transaction};
use crate::read::timeline::Gaps;

/// How many of the newest events a room brings into memory when it is loaded.
const LOADED_EVENTS: u64 = 20;

/// State events (with an empty state key) that are in memory as long as their room is.
const ALWAYS_IN_MEMORY: [&str; 13] = [
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.create",
    "m.room.encryption",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.name",
    "m.room.policy",
    "m.room.power_levels",
    "m.room.server_acl",
    "m.room.tombstone",
    "m.room.topic",
];

/// Of those the ones without which a room is not loaded: they decide who may do what.
const DECISIVE: [&str; 7] = [
    "m.room.create",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.policy",
    "m.room.power_levels",
    "m.room.server_acl",
];

/// What an `m.room.history_visibility` event that cannot be read stands for: nobody is shown more than it may have
/// allowed.
pub(crate) const UNREADABLE_VISIBILITY: HistoryVisibility = HistoryVisibility::Joined;

/// A room's row and everything its view needs.
pub(crate) struct LoadedRoom {
    pub nid: RoomNid,
    pub id: RoomId,
    pub version: RoomVersion,
    pub revision: i64,
    /// See [`crate::model::room::Room`].
    pub latest_ts: i64,
    pub view: RoomView,
}

/// Reads a room; `None` when there is none with this number.
/// `as_of`: its count of redactions.
pub(crate) fn room(
    tx: &mut Tx<'_>,
    nid: RoomNid,
    server_name: &str,
    as_of: u64,
) -> Result<Option<LoadedRoom>, DbError> {
    let Some(row) = repo::rooms::by_nid(tx, nid)? else { return Ok(None) };
    let place = || format!("rooms, room_nid {nid}");
    let version: RoomVersion = row.room_version.parse().map_err(|error| DbError::bad_data(place(), error))?;
    let id = RoomId::try_from(row.room_id.as_str()).map_err(|error| DbError::bad_data(place(), error))?;

    let newest = repo::events::newest(tx, nid, 0, i64::MAX, LOADED_EVENTS)?;
    let complete = (newest.len() as u64) < LOADED_EVENTS;
    let latest_ts = match newest.iter().find_map(|event| event.ts_in_order) {
        Some(ts) => ts,
        None if complete => i64::MIN,
        // When so many have been late, all that follow may be.
        None => repo::events::latest_ts(tx, nid)?.unwrap_or(i64::MAX),
    };
    let gaps = Gaps::new(repo::timeline_gaps::of_room(tx, nid)?);
    let recent_after = match newest.last().and_then(|oldest| oldest.position) {
        Some(oldest) if !complete => oldest - 1,
        _ => 0,
    };
    // What was fetched later is not recent.
    let recent_after = recent_after.max(gaps.last_top() - 1);
    let mut recent = hydrate(tx, version, newest)?;
    recent.retain(|event| event.position > recent_after);
    recent.sort_by_key(|event| event.position);

    let state = state(tx, (nid, version), &recent, as_of)?;
    let mut extremities = Vec::with_capacity(row.extremities.len());
    for event in repo::events::by_nids(tx, &row.extremities)? {
        let event_id = event_key::decode(&event.event_id, version);
        let event_id = event_id.map_err(|error| bad_event(event.event_nid, error))?;
        extremities.push(Extremity { nid: event.event_nid, event_id });
    }
    let partial = repo::partial_joins::of_room(tx, nid)?.map(Arc::new);
    let merged = match partial.is_some() || has_members_elsewhere(&state, server_name) {
        true => repo::current_state::last_merge(tx, nid, recent_after)?.unwrap_or(0),
        // Nobody else writes to the room: its state has only ever changed by its timeline.
        false => 0,
    };
    let snapshot = SnapshotRef { nid: row.snapshot_nid, depth: repo::state_snapshots::depth(tx, row.snapshot_nid)? };
    let mut current = current_state(version, state, server_name);
    if let Some(join) = partial.as_ref().filter(|join| join.full_position.is_none()) {
        join.servers.iter().for_each(|server| current.servers.be_told_of(server));
    }
    let view = RoomView {
        position: row.position,
        tip: Tip { extremities: extremities.into(), depth: row.depth.unsigned_abs(), snapshot },
        current: Arc::new(current),
        recent: recent.into(),
        recent_after,
        merged,
        gaps,
        partial,
    };
    Ok(Some(LoadedRoom { nid, id, version, revision: row.revision, latest_ts, view }))
}

/// Whether anybody of another server is or was in a room.
fn has_members_elsewhere(state: &StateMap, server_name: &str) -> bool {
    let server = |entry: &Arc<StateEntry>| entry.state_key.split_once(':').is_none_or(|(_, name)| name != server_name);
    state.of_type("m.room.member").any(server)
}

fn state(
    tx: &mut Tx<'_>,
    (room, version): (RoomNid, RoomVersion),
    recent: &[Arc<TimelineEvent>],
    as_of: u64,
) -> Result<StateMap, DbError> {
    let rows = repo::current_state::all(tx, room)?;
    let wanted: Vec<EventNid> = rows
        .iter()
        .filter(|row| row.state_key.is_empty() && ALWAYS_IN_MEMORY.contains(&row.event_type.as_str()))
        .map(|row| row.event_nid)
        .filter(|nid| !recent.iter().any(|event| event.nid == *nid))
        .collect();
    let stored = repo::events::by_nids(tx, &wanted)?;
    let mut events: HashMap<EventNid, Arc<TimelineEvent>> =
        hydrate(tx, version, stored)?.into_iter().map(|event| (event.nid, event)).collect();
    events.extend(recent.iter().map(|event| (event.nid, Arc::clone(event))));

    let mut types: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut state = StateMap::default();
    for row in rows {
        let event_type = match types.get(row.event_type.as_str()) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = row.event_type.into();
                types.insert(Arc::clone(&new));
                new
            }
        };
        let membership = row.membership.and_then(MembershipKind::from_code);
        let entry = StateEntry::stored(event_type, row.state_key.into(), row.event_nid, membership);
        if let Some(event) = events.get(&row.event_nid) {
            entry.remember(event, as_of);
        } else if entry.keeps() && DECISIVE.contains(&&*entry.event_type) {
            return Err(bad_event(entry.nid, format!("the room cannot do without its {}", entry.event_type)));
        }
        state.insert(Arc::new(entry));
    }
    Ok(state)
}

/// What is derived from a state. The events it is derived from are in memory.
pub(crate) fn current_state(version: RoomVersion, state: StateMap, server_name: &str) -> CurrentState {
    let power_levels = power_levels(version, &state);
    let mut local_joined = SortedSet::default();
    let mut servers = Servers::default();
    let (mut joined_count, mut invited_count) = (0, 0);
    for entry in state.of_type("m.room.member") {
        match entry.membership {
            Some(MembershipKind::Join) => {
                joined_count += 1;
                if let Ok(user) = UserId::try_from(&*entry.state_key) {
                    servers.add(user.server_name());
                    if user.server_name() == server_name {
                        local_joined.insert(user.clone(), |other: &UserId| other.cmp(&user));
                    }
                }
            }
            Some(MembershipKind::Invite) => invited_count += 1,
            _ => {}
        }
    }
    let mut current = CurrentState {
        state,
        power_levels: Arc::new(power_levels),
        join_rule: JoinRule::default(),
        history_visibility: HistoryVisibility::default(),
        guests_can_join: false,
        server_acl: None,
        local_joined,
        servers,
        joined_count,
        invited_count,
    };
    current.derive_settings();
    current
}

/// The power levels a state sets.
pub(crate) fn power_levels(version: RoomVersion, state: &StateMap) -> PowerLevels {
    let pdu = |event_type| state.get(event_type, "").and_then(|entry| entry.pdu());
    match pdu("m.room.create") {
        Some(create) => PowerLevels::of_room(create, pdu("m.room.power_levels")),
        None => PowerLevels::new(version.rules(), &[], None),
    }
}

/// The event of a state entry; `as_of`: the room's count of redactions. Of a member event that cannot be read the
/// membership is known all the same: it comes back as if it had been redacted.
///
/// # Errors
/// When another event cannot be read.
pub(crate) async fn state_event(
    db: &Database,
    cache: &EventCache,
    version: RoomVersion,
    entry: &StateEntry,
    as_of: u64,
) -> Result<Arc<TimelineEvent>, DbError> {
    if let Some(event) = entry.event(as_of).or_else(|| cache.get(entry.nid, as_of)) {
        return Ok(event);
    }
    let (nid, reading) = (entry.nid, cache.begin());
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

/// As [`by_nids`].
///
/// # Errors
/// When one of the events is not there or cannot be read.
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

/// Timeline events by number, in no particular order; those that cannot be read are left out.
pub(crate) fn by_nids(
    tx: &mut Tx<'_>,
    version: RoomVersion,
    nids: &[EventNid],
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let stored = repo::events::by_nids(tx, nids)?;
    hydrate(tx, version, stored)
}

/// Completes stored events with what they replaced and what redacted them. Keeps the order; leaves out what cannot be
/// read.
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
    let events = rows
        .into_iter()
        .filter_map(|row| {
            let pdu = shown(&row, &readable(parse(&row, version))?);
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
            Some(Arc::new(event))
        })
        .collect();
    Ok(events)
}

/// The event of a row, of which `pdu` was parsed: what is left of it when it has been redacted.
fn shown(row: &StoredEvent, pdu: &Pdu) -> Pdu {
    if row.redacted_by.is_some() { redact::redact(pdu) } else { pdu.clone() }
}

/// The event of a row, not redacted.
pub(crate) fn parse(row: &StoredEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    // Invites to rooms that this server is not in may each name another version: who invites is not to be believed.
    let other =
        |error| [RoomVersion::V1, RoomVersion::V11].into_iter().find_map(|it| parse_as(row, it).ok()).ok_or(error);
    parse_as(row, version).or_else(other)
}

fn parse_as(row: &StoredEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    parse_event((row.event_nid, &row.event_id), &row.json, version)
}

/// The event with this number and stored id.
pub(crate) fn parse_event(
    (nid, event_id): (EventNid, &[u8]),
    json: &Result<String, UnpackError>,
    version: RoomVersion,
) -> Result<Pdu, DbError> {
    let event_id = event_key::decode(event_id, version).map_err(|error| bad_event(nid, error))?;
    let json = json.as_ref().map_err(|error| bad_event(nid, error))?;
    Pdu::from_stored(json, event_id, version).map_err(|error| bad_event(nid, error))
}

/// A row of `events` that is not what it must be.
pub(crate) fn bad_event(nid: EventNid, problem: impl std::fmt::Display) -> DbError {
    DbError::bad_data(format!("events, event_nid {nid}"), problem)
}
