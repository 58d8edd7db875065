//! State resolution of states in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_protocol::auth::AuthEvent;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_protocol::state_res::{self, Resolution, State};
use plexus_store::repo::state_snapshots::REMOVED;
use plexus_store::{DbError, EventNid};

use crate::model::auth_index::{self, AuthIndex};
use crate::model::room::Room;
use crate::model::state_at::{self, StateAt};
use crate::model::state_map::{StateEntry, StateMap};
use crate::write::pending::PendingSnapshot;
use crate::write::writer::RoomWriter;

/// The result of state resolution.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The resolved state.
    pub at: StateAt,
    /// The snapshot to be stored, if it is not the state of one of the branches.
    pub(crate) new: Option<PendingSnapshot>,
}

type Key = (Arc<str>, Arc<str>);

/// Resolves the states of several branches into one
/// (<https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution>). `new` is an event of them that is not
/// stored yet.
///
/// # Errors
/// When the database fails, or an event cannot be read.
pub async fn merge(
    writer: &RoomWriter,
    room: &Room,
    mut branches: Vec<StateAt>,
    new: Option<(EventNid, &Pdu)>,
) -> Result<Merged, DbError> {
    branches.sort_by_key(|branch| branch.snapshot.nid);
    branches.dedup_by_key(|branch| branch.snapshot.nid);
    let place = || format!("rooms, room_nid {}", room.nid);
    let Some((first, others)) = branches.split_first() else {
        return Err(DbError::bad_data(place(), "there is no state to resolve"));
    };
    let differences: Vec<Vec<Key>> = others.iter().map(|other| first.state.difference(&other.state)).collect();
    let conflicted: BTreeSet<Key> = differences.iter().flatten().cloned().collect();
    if conflicted.is_empty() {
        return Ok(Merged { at: first.clone(), new: None });
    }
    let mut index = room.auth.lock().await;
    let all = branches.iter().flat_map(|branch| branch.state.iter()).map(|entry| entry.nid);
    if let Some((nid, pdu)) = new {
        index.include_new(nid, pdu);
    }
    index.include(&writer.db, (room.nid, room.version), all).await?;
    room.auth_bytes.store(index.weight(), Ordering::Relaxed);
    let resolved = resolve(writer, room, &index, states(&index, &branches, &differences), new).await?;
    let graph = index.graph();
    let outcome: HashMap<Key, Option<EventNid>> = conflicted
        .into_iter()
        .map(|key| {
            let node = graph.key(&key.0, &key.1).and_then(|number| resolved.get(number));
            (key, node.and_then(|node| index.nid(node)))
        })
        .collect();
    drop(index);
    merged(writer, room, &branches, outcome).await
}

async fn resolve(
    writer: &RoomWriter,
    room: &Room,
    index: &AuthIndex,
    states: Vec<State>,
    new: Option<(EventNid, &Pdu)>,
) -> Result<State, DbError> {
    let mut events: HashMap<EventId, AuthEvent> = HashMap::new();
    if let Some((_, pdu)) = new {
        events.insert(pdu.event_id().clone(), AuthEvent { pdu: pdu.clone(), rejected: false });
    }
    loop {
        let resolution =
            state_res::resolve(room.version.rules(), index.graph(), &states, &|id| events.get(id).cloned());
        let place = || format!("rooms, room_nid {}", room.nid);
        match resolution.map_err(|error| DbError::bad_data(place(), error))? {
            Resolution::Resolved(state) => return Ok(state),
            Resolution::Need(ids) => {
                let found = auth_index::auth_events(&writer.db, (room.nid, room.version), &ids).await?;
                if found.len() < ids.len() {
                    return Err(DbError::bad_data(place(), "an event of an auth chain is missing"));
                }
                events.extend(found);
            }
        }
    }
}

/// Returns the resolved state as a difference to the nearest branch.
async fn merged(
    writer: &RoomWriter,
    room: &Room,
    branches: &[StateAt],
    outcome: HashMap<Key, Option<EventNid>>,
) -> Result<Merged, DbError> {
    let differs = |branch: &StateAt| {
        outcome.iter().filter(|((of_type, key), nid)| nid_of(&branch.state, of_type, key) != **nid).count()
    };
    let Some(nearest) = branches.iter().min_by_key(|branch| differs(branch)) else {
        return Err(DbError::bad_data(format!("rooms, room_nid {}", room.nid), "there is no state to resolve"));
    };
    let changes: Vec<(Key, Option<EventNid>)> = outcome
        .into_iter()
        .filter(|((event_type, state_key), nid)| nid_of(&nearest.state, event_type, state_key) != *nid)
        .collect();
    if changes.is_empty() {
        return Ok(Merged { at: nearest.clone(), new: None });
    }
    let mut state = nearest.state.clone();
    let mut not_in_memory = Vec::new();
    let mut stored = Vec::with_capacity(changes.len());
    for ((event_type, state_key), nid) in changes {
        let known = branches
            .iter()
            .find_map(|branch| branch.state.get(&event_type, &state_key).filter(|entry| Some(entry.nid) == nid));
        match (nid, known) {
            (Some(_), Some(entry)) => _ = state.insert(Arc::clone(entry)),
            (Some(nid), None) => not_in_memory.push(nid),
            (None, _) => _ = state.remove(&event_type, &state_key),
        }
        stored.push((event_type, state_key, nid.unwrap_or(REMOVED)));
    }
    if !not_in_memory.is_empty() {
        let version = room.version;
        for entry in writer.db.read(move |tx| state_at::entries(tx, version, &not_in_memory)).await? {
            state.insert(entry);
        }
    }
    let parent = nearest.snapshot;
    let snapshot = parent.child(writer.nids.take(1).await?, stored.len());
    let new = PendingSnapshot { parent, snapshot, changes: stored };
    Ok(Merged { at: StateAt { snapshot, state }, new: Some(new) })
}

/// Returns the states of the branches over the auth graph. `differences` are the keys in which the others differ from
/// the first.
fn states(index: &AuthIndex, branches: &[StateAt], differences: &[Vec<Key>]) -> Vec<State> {
    let graph = index.graph();
    let Some((first, others)) = branches.split_first() else { return Vec::new() };
    let first = State::from_nodes(graph, first.state.iter().filter_map(|entry| index.node(entry.nid)));
    let mut states = vec![first.clone()];
    for (branch, difference) in others.iter().zip(differences) {
        let mut state = first.clone();
        for (event_type, state_key) in difference {
            match nid_of(&branch.state, event_type, state_key).and_then(|nid| index.node(nid)) {
                Some(node) => _ = state.set(graph, node),
                None => _ = graph.key(event_type, state_key).and_then(|key| state.unset(key)),
            }
        }
        states.push(state);
    }
    states
}

fn nid_of(state: &StateMap, event_type: &str, state_key: &str) -> Option<EventNid> {
    state.get(event_type, state_key).map(|entry: &Arc<StateEntry>| entry.nid)
}
