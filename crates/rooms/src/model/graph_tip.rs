//! Where a room's graph ends.

use std::sync::Arc;

use plexus_protocol::id::EventId;
use plexus_store::EventNid;
use plexus_store::repo::state_snapshots::SnapshotRef;

/// A forward extremity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extremity {
    pub nid: EventNid,
    pub event_id: EventId,
}

/// Where the room's graph ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    pub extremities: Arc<[Extremity]>,
    /// The greatest depth among them.
    pub depth: u64,
    /// The state after them.
    pub snapshot: SnapshotRef,
}

impl Tip {
    /// Before the create event.
    pub fn empty() -> Self {
        Self { extremities: Arc::new([]), depth: 0, snapshot: SnapshotRef::EMPTY }
    }
}
