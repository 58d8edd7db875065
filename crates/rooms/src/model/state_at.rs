//! The state of a room at any event of its graph, read from snapshots.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events::{GraphNode, Verdict};
use plexus_store::repo::state_snapshots::{self, SnapshotRef};
use plexus_store::{DbError, EventNid, SnapshotNid, Tx};

use crate::model::state_map::{StateEntry, StateMap};
use crate::model::stored_events;

/// A state in memory, and its snapshot in the database.
#[derive(Clone, Debug)]
pub struct StateAt {
    /// Its snapshot.
    pub snapshot: SnapshotRef,
    /// The state.
    pub state: StateMap,
}

/// Returns the number of the snapshot after a state event: the event's own and one more.
pub(crate) fn snapshot_after(event: EventNid) -> SnapshotNid {
    event + 1
}

/// Returns the number of the snapshot after an event; `None` for an outlier. A rejected event changes no state.
pub fn snapshot_after_event(event: &GraphNode) -> Option<i64> {
    let before = event.snapshot_nid?;
    Some(if event.is_state && event.verdict != Verdict::Rejected { snapshot_after(event.event_nid) } else { before })
}

/// Reads the state of a snapshot. It shares the entries of `near` that it has in common with it.
///
/// # Errors
/// When the database fails, or an event cannot be read.
pub fn read(tx: &mut Tx<'_>, version: RoomVersion, near: &StateAt, snapshot_nid: i64) -> Result<StateAt, DbError> {
    if snapshot_nid == near.snapshot.nid {
        return Ok(near.clone());
    }
    let snapshot = SnapshotRef { nid: snapshot_nid, depth: state_snapshots::depth(tx, snapshot_nid)? };
    let wanted = state_snapshots::read(tx, snapshot_nid)?;
    let have = state_snapshots::read(tx, near.snapshot.nid)?;
    let gone: Vec<EventNid> =
        have.iter().filter(|(key, _)| !wanted.contains_key(*key)).map(|(_, event)| *event).collect();
    let new: Vec<EventNid> =
        wanted.iter().filter(|(key, event)| have.get(*key) != Some(*event)).map(|(_, event)| *event).collect();
    let mut state = near.state.clone();
    for event in stored_events::all_by_nids(tx, version, &gone)? {
        state.remove(event.pdu.event_type(), event.pdu.state_key().unwrap_or_default());
    }
    for entry in entries(tx, version, &new)? {
        state.insert(entry);
    }
    Ok(StateAt { snapshot, state })
}

/// Reads the state entries of events.
///
/// # Errors
/// When the database fails, or an event is missing or cannot be read.
pub fn entries(tx: &mut Tx<'_>, version: RoomVersion, nids: &[EventNid]) -> Result<Vec<Arc<StateEntry>>, DbError> {
    let mut types: HashMap<String, Arc<str>> = HashMap::new();
    let events = stored_events::all_by_nids(tx, version, nids)?;
    Ok(events
        .iter()
        .filter_map(|event| {
            let event_type = types
                .entry(event.pdu.event_type().to_owned())
                .or_insert_with_key(|event_type| event_type.as_str().into());
            Some(Arc::new(StateEntry::of(Arc::clone(event_type), event.pdu.state_key()?.into(), event)))
        })
        .collect())
}
