//! Reads rooms from the database.
//!
//! Events that cannot be read are logged and left out, except those that decide who may do what: a room is not loaded
//! without them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use plexus_protocol::id::RoomId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{DbError, EventNid, RoomNid, Tx, event_key, repo};

use crate::model::current_state::current_state;
use crate::model::gaps::Gaps;
use crate::model::graph_tip::{Extremity, Tip};
use crate::model::room_view::RoomView;
use crate::model::state_map::{StateEntry, StateMap};
use crate::model::stored_events::{bad_event, hydrate};
use crate::model::timeline_event::TimelineEvent;

/// The number of newest events that are loaded with a room.
const LOADED_EVENTS: u64 = 20;

/// The types of state events, with an empty state key, that are in memory as long as their room is.
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

/// The types without which a room is not loaded: they decide who may do what.
const DECISIVE: [&str; 7] = [
    "m.room.create",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.policy",
    "m.room.power_levels",
    "m.room.server_acl",
];

/// A room's row, and its view.
pub(crate) struct LoadedRoom {
    pub nid: RoomNid,
    pub id: RoomId,
    pub version: RoomVersion,
    pub revision: i64,
    /// See [`Room::latest_ts`](crate::model::room::Room).
    pub latest_ts: i64,
    pub view: RoomView,
}

/// Reads a room; `None` if there is none with this number. `as_of` is its count of redactions.
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
        // When so many have been late, all later ones may be.
        None => repo::events::latest_ts(tx, nid)?.unwrap_or(i64::MAX),
    };
    let gaps = Gaps::new(repo::timeline_gaps::of_room(tx, nid)?);
    let recent_after = match newest.last().and_then(|oldest| oldest.position) {
        Some(oldest) if !complete => oldest - 1,
        _ => 0,
    };
    // Backfilled events are not recent.
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
    extremities.sort_by_key(|extremity| row.extremities.iter().position(|nid| *nid == extremity.nid));
    let partial = repo::partial_joins::of_room(tx, nid)?.map(Arc::new);
    let resolved = if partial.is_some() || has_members_elsewhere(&state, server_name) {
        repo::current_state::last_merge(tx, nid, recent_after)?.unwrap_or(0)
    } else {
        // No other server is in the room: only events of the timeline have changed its state.
        0
    };
    let snapshot = SnapshotRef { nid: row.snapshot_nid, depth: repo::state_snapshots::depth(tx, row.snapshot_nid)? };
    let mut current = current_state(version, state, server_name);
    if let Some(join) = partial.as_ref().filter(|join| join.full_position.is_none()) {
        join.servers.iter().for_each(|server| current.servers.add_claimed(server));
    }
    let view = RoomView {
        position: row.position,
        tip: Tip { extremities: extremities.into(), depth: row.depth.unsigned_abs(), snapshot },
        current: Arc::new(current),
        recent: recent.into(),
        recent_after,
        resolved,
        gaps,
        partial,
    };
    Ok(Some(LoadedRoom { nid, id, version, revision: row.revision, latest_ts, view }))
}

/// Whether users of other servers are or were in a room.
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
        let entry = StateEntry::stored(event_type, row.state_key.into(), row.event_nid, row.membership);
        if let Some(event) = events.get(&row.event_nid) {
            entry.remember(event, as_of);
        } else if entry.keeps_event() && DECISIVE.contains(&&*entry.event_type) {
            return Err(bad_event(entry.nid, format!("the room cannot do without its {}", entry.event_type)));
        }
        state.insert(Arc::new(entry));
    }
    Ok(state)
}
