//! The end of a room's graph.

use std::sync::Arc;

use plexus_protocol::id::EventId;
use plexus_store::EventNid;
use plexus_store::repo::state_snapshots::SnapshotRef;

/// A forward extremity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extremity {
    /// The number of the event.
    pub nid: EventNid,
    /// The id of the event.
    pub event_id: EventId,
}

/// The end of a room's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The forward extremities.
    pub extremities: Arc<[Extremity]>,
    /// The greatest depth among them.
    pub depth: u64,
    /// The state after them.
    pub snapshot: SnapshotRef,
}

impl Tip {
    /// Returns the end of an empty graph.
    pub fn empty() -> Self {
        Self { extremities: Arc::new([]), depth: 0, snapshot: SnapshotRef::EMPTY }
    }
}
