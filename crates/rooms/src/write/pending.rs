//! Events on their way to the database.

use std::ops::Deref;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_store::repo::events::Verdict;
use plexus_store::repo::partial_joins::PartialJoin;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::repo::timeline_gaps::Gap;
use plexus_store::{DbError, EventNid, Position, pdu_json};

use crate::model::current_state::{CurrentState, StateChange};
use crate::model::graph_tip::Tip;
use crate::model::head::Head;
use crate::model::room::Room;
use crate::model::timeline_event::{Replaced, TimelineEvent, Transaction};
use crate::write::redactions::PendingRedaction;
use crate::write::transactions::TransactionKey;

/// A signed event, the verdict on it, and the state before it.
pub(crate) struct JudgedEvent {
    pub(crate) nid: EventNid,
    pub(crate) pdu: Pdu,
    /// Whether the database has the event already, as an outlier.
    pub(crate) is_stored: bool,
    /// The JSON as the database stores it; empty if it is stored already.
    pub(crate) packed: Vec<u8>,
    pub(crate) verdict: Verdict,
    /// The state before the event; `None` for an event outside the graph.
    pub(crate) snapshot_before: Option<SnapshotRef>,
    /// The snapshots that are new with the event, parents first: resolved states, and the state after a state event.
    pub(crate) snapshots: Vec<PendingSnapshot>,
    /// The redaction of the event, if that arrived earlier.
    pub(crate) redacted_by: Option<Arc<TimelineEvent>>,
}

impl JudgedEvent {
    /// Creates an event without a place in the graph and without new snapshots.
    pub(crate) fn new(nid: EventNid, pdu: Pdu, is_stored: bool, verdict: Verdict) -> Result<Self, DbError> {
        let packed = if is_stored { Vec::new() } else { pdu_json::pack(pdu.json())? };
        let (snapshot_before, snapshots, redacted_by) = (None, Vec::new(), None);
        Ok(Self { nid, pdu, is_stored, packed, verdict, snapshot_before, snapshots, redacted_by })
    }
}

/// An event that is about to be committed. Derefs to its [`JudgedEvent`].
pub(crate) struct PendingEvent {
    pub(crate) judged: JudgedEvent,
    /// Whether clients see it. Soft-failed and rejected events, and events outside the graph, are not in the timeline.
    pub(crate) in_timeline: bool,
    /// The changes of the current state.
    pub(crate) changes: Vec<StateChange>,
    /// The event that a state event replaces in the current state.
    pub(crate) replaced: Option<Replaced>,
    /// Entries of `changes` hold this event weakly until it is committed.
    pub(crate) _kept: Option<Arc<TimelineEvent>>,
    pub(crate) transaction: Option<(TransactionKey, Transaction)>,
    /// The redaction that the event makes.
    pub(crate) redacts: Option<PendingRedaction>,
    /// The end of the graph after the event.
    pub(crate) tip: Tip,
    /// The current state after the event.
    pub(crate) current: Arc<CurrentState>,
    pub(crate) forwarding: Forwarding,
    /// The missing events that the event refers to.
    pub(crate) missing: Option<MissingPrevEvents>,
}

impl Deref for PendingEvent {
    type Target = JudgedEvent;

    fn deref(&self) -> &JudgedEvent {
        &self.judged
    }
}

impl PendingEvent {
    /// Creates an event after which the room is as `after` says. It changes no state, and other servers do not get it
    /// from this one.
    pub(crate) fn new(judged: JudgedEvent, after: &Head) -> Self {
        Self {
            in_timeline: judged.verdict == Verdict::Accepted && judged.snapshot_before.is_some(),
            judged,
            changes: Vec::new(),
            replaced: None,
            _kept: None,
            transaction: None,
            redacts: None,
            tip: after.tip.clone(),
            current: Arc::clone(&after.current),
            forwarding: Forwarding::No,
            missing: None,
        }
    }

    /// Returns the gap that the event opens at its position.
    pub(crate) fn opened_gap(&self, position: Position) -> Option<Gap> {
        let missing = self.missing.as_ref()?;
        let depth = i64::try_from(missing.opens_gap?).unwrap_or(i64::MAX);
        Some(Gap { gap_nid: missing.gap_nid, depth, top: position, lowest: position, is_open: true })
    }
}

/// Prev events that are missing from a room's graph.
#[derive(Clone, Debug)]
pub(crate) struct MissingPrevEvents {
    /// The gap that they are missing from, or [`plexus_store::repo::timeline_gaps::START`].
    pub(crate) gap_nid: EventNid,
    /// The depth of a gap that is opened right before the event.
    pub(crate) opens_gap: Option<u64>,
    /// The events that name them.
    pub(crate) extremities: Vec<EventNid>,
}

/// Whether this server sends an event to other servers.
#[derive(Clone, Debug)]
pub(crate) enum Forwarding {
    /// No: its sender's server does.
    No,
    /// Yes: a user of this server sent it.
    Own,
    /// Yes: this server submitted it (`PUT /send_join`, `/send_leave`, `/send_knock`), and gets it from nobody else.
    SubmittedBy(ServerName),
}

/// A state to be stored as its difference to another.
#[derive(Clone, Debug)]
pub(crate) struct PendingSnapshot {
    pub(crate) parent: SnapshotRef,
    /// `parent.child(nid, changes.len())`, or one that can be extended.
    pub(crate) snapshot: SnapshotRef,
    /// Type, state key and event, or [`plexus_store::repo::state_snapshots::REMOVED`].
    pub(crate) changes: Vec<(Arc<str>, Arc<str>, EventNid)>,
}

/// The values that the first commit of a room writes besides events.
#[derive(Default)]
pub(crate) struct Creation {
    /// An alias for the new room.
    pub(crate) alias: Option<String>,
    /// Whether the room is published in the room directory.
    pub(crate) published: bool,
}

/// Events of one writer in one room: committed together or not at all.
pub(crate) struct Append {
    pub(crate) room: Arc<Room>,
    /// The epoch of the head that the events were built on.
    pub(crate) epoch: u64,
    pub(crate) events: Vec<PendingEvent>,
    pub(crate) creation: Option<Creation>,
    /// Set if this server joins the room by the events.
    pub(crate) entered: Option<Entered>,
}

/// How this server has joined a room.
pub(crate) struct Entered {
    /// Set if part of the room's state is missing.
    pub(crate) partial: Option<Arc<PartialJoin>>,
}
