//! The states before and after an event.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_store::repo::events::{GraphNode, Verdict};
use plexus_store::repo::state_snapshots::{REMOVED, SnapshotRef};
use plexus_store::{DbError, EventNid};

use super::candidate::Candidate;
use crate::model::event_lookup;
use crate::model::head::Head;
use crate::model::room::Room;
use crate::model::state_at::{self, StateAt, snapshot_after};
use crate::model::state_map::{StateEntry, StateMap, shared_type};
use crate::model::timeline_event::TimelineEvent;
use crate::write::error::AddError;
use crate::write::merge;
use crate::write::pending::PendingSnapshot;
use crate::write::writer::RoomWriter;

/// The number of events of one query.
const EVENTS_PER_READ: usize = 1_000;

/// The state before an event, and its snapshots that are not stored yet.
pub(crate) struct StateBefore {
    pub at: StateAt,
    /// The new snapshots, parents first.
    pub new: Vec<PendingSnapshot>,
}

/// The state after an event, and its snapshots that are not stored yet.
pub(crate) struct StateAfter {
    pub at: StateAt,
    pub new: Vec<PendingSnapshot>,
    /// The state's entry of the event holds this event weakly.
    pub kept: Option<Arc<TimelineEvent>>,
}

/// Whether the prev events of an event are exactly the forward extremities.
pub(crate) fn follows(head: &Head, pdu: &Pdu) -> bool {
    let extremities = &head.tip.extremities;
    pdu.prev_events().len() == extremities.len()
        && extremities.iter().all(|extremity| pdu.prev_events().contains(&extremity.event_id))
}

/// Returns the state after an event with the number `nid`.
pub(crate) fn state_after(nid: EventNid, pdu: &Pdu, verdict: Verdict, before: StateBefore) -> StateAfter {
    let StateBefore { at, mut new } = before;
    let Some(state_key) = pdu.state_key().filter(|_| verdict != Verdict::Rejected) else {
        return StateAfter { at, new, kept: None };
    };
    let event = Arc::new(TimelineEvent::new(nid, 0, pdu.clone(), None, None));
    let entry = Arc::new(StateEntry::of(shared_type(&at.state, pdu.event_type()), state_key.into(), &event));
    let own = (Arc::clone(&entry.event_type), Arc::clone(&entry.state_key), nid);
    let snapshot = at.snapshot.child(snapshot_after(nid), 1);
    new.push(PendingSnapshot { parent: at.snapshot, snapshot, changes: vec![own] });
    let mut state = at.state;
    state.insert(entry);
    StateAfter { at: StateAt { snapshot, state }, new, kept: Some(event) }
}

/// Returns the state before an event: the current state if it follows the forward extremities, and otherwise the
/// resolved states after its prev events. For missing prev events, the given state is used.
pub(crate) async fn state_before(
    writer: &RoomWriter,
    room: &Room,
    head: &Head,
    candidate: &Candidate<'_>,
) -> Result<StateBefore, AddError> {
    let current = if candidate.entering {
        // The out-of-band state in memory is in no snapshot.
        StateAt { snapshot: SnapshotRef::EMPTY, state: StateMap::default() }
    } else {
        StateAt { snapshot: head.tip.snapshot, state: head.current.state.clone() }
    };
    if candidate.given.is_none() && follows(head, candidate.pdu) {
        return Ok(StateBefore { at: current, new: Vec::new() });
    }
    let prev_events = candidate.pdu.prev_events();
    // Only the room's own create event has no prev events.
    let create = head.current.state.get("m.room.create", "").map(|entry| entry.nid);
    if prev_events.is_empty() && create.is_some() && create == candidate.stored.map(|known| known.event_nid) {
        let at = StateAt { snapshot: SnapshotRef::EMPTY, state: StateMap::default() };
        return Ok(StateBefore { at, new: Vec::new() });
    }
    let mut known = event_lookup::known(&writer.db, prev_events).await?;
    let unwritten = prev_events.iter().filter_map(|id| candidate.unwritten.get_key_value(id));
    known.extend(unwritten.map(|(id, known)| (id.clone(), known.clone())));
    let placed: Vec<&GraphNode> =
        known.values().filter(|known| known.room_nid == room.nid && known.snapshot_nid.is_some()).collect();
    let mut new = Vec::new();
    let mut branches = Vec::new();
    match candidate.given {
        Some(given) => {
            let given = given_state(writer, room, head, &current, (given, candidate.partial.is_some())).await?;
            new.extend(given.new);
            branches.push(given.at);
        }
        None if placed.is_empty() || placed.len() < prev_events.len() => return Err(AddError::MissingEvents),
        None => {}
    }
    if !candidate.entering {
        branches.extend(states_after(writer, room, &current, &placed).await?);
    }
    let merged = merge::merge(writer, room, branches, None).await?;
    new.extend(merged.new);
    Ok(StateBefore { at: merged.at, new })
}

/// Reads the states after events of the graph, without duplicates.
pub(super) async fn states_after(
    writer: &RoomWriter,
    room: &Room,
    near: &StateAt,
    events: &[&GraphNode],
) -> Result<Vec<StateAt>, DbError> {
    let mut snapshots: Vec<_> = events.iter().filter_map(|known| state_at::snapshot_after_event(known)).collect();
    snapshots.sort_unstable();
    snapshots.dedup();
    let (version, near) = (room.version, near.clone());
    writer.db.read(move |tx| snapshots.into_iter().map(|nid| state_at::read(tx, version, &near, nid)).collect()).await
}

/// Returns the state of the given events, as a difference to `near`. `extensible`: whether the rest of it is added
/// later.
async fn given_state(
    writer: &RoomWriter,
    room: &Room,
    head: &Head,
    near: &StateAt,
    (events, extensible): (&[EventNid], bool),
) -> Result<StateBefore, DbError> {
    let wanted: HashSet<EventNid> = events.iter().copied().collect();
    let here: HashMap<EventNid, &Arc<StateEntry>> = head.current.state.iter().map(|entry| (entry.nid, entry)).collect();
    let have: HashSet<EventNid> = near.state.iter().map(|entry| entry.nid).collect();
    let mut state = near.state.clone();
    // The last of two events for a key counts. No valid state has two.
    let mut changes = BTreeMap::new();
    let mut add = |entry: Arc<StateEntry>| {
        changes.insert((Arc::clone(&entry.event_type), Arc::clone(&entry.state_key)), entry.nid);
        state.insert(entry);
    };
    let (in_memory, stored): (Vec<EventNid>, Vec<EventNid>) =
        wanted.difference(&have).partition(|nid| here.contains_key(*nid));
    in_memory.iter().filter_map(|nid| here.get(nid)).for_each(|entry| add(Arc::clone(entry)));
    for nids in stored.chunks(EVENTS_PER_READ) {
        let (version, nids) = (room.version, nids.to_vec());
        writer.db.read(move |tx| state_at::entries(tx, version, &nids)).await?.into_iter().for_each(&mut add);
    }
    let gone: Vec<Arc<StateEntry>> = state.iter().filter(|entry| !wanted.contains(&entry.nid)).cloned().collect();
    for entry in gone {
        state.remove(&entry.event_type, &entry.state_key);
        changes.insert((Arc::clone(&entry.event_type), Arc::clone(&entry.state_key)), REMOVED);
    }
    if changes.is_empty() {
        return Ok(StateBefore { at: near.clone(), new: Vec::new() });
    }
    let nid = writer.nids.take(1).await?;
    let snapshot = if extensible { SnapshotRef::extensible(nid) } else { near.snapshot.child(nid, changes.len()) };
    let changes = changes.into_iter().map(|((event_type, state_key), nid)| (event_type, state_key, nid)).collect();
    let new = vec![PendingSnapshot { parent: near.snapshot, snapshot, changes }];
    Ok(StateBefore { at: StateAt { snapshot, state }, new })
}
