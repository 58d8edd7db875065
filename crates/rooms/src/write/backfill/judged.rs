//! Backfilled events that have been judged, on their way to the database.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::event::redact::redaction_target;
use plexus_protocol::id::EventId;
use plexus_store::repo::events::{GraphNode, Verdict};
use plexus_store::repo::scheduled_tasks::ScheduledTask;
use plexus_store::{RoomNid, event_key};

use crate::model::room::Room;
use crate::model::timeline_event::TimelineEvent;
use crate::write::draft::RedactionTarget;
use crate::write::event_rows::depth;
use crate::write::expiry_task;
use crate::write::pending::JudgedEvent;

/// A backfilled event that has been judged.
pub(super) struct PastEvent {
    pub(super) judged: JudgedEvent,
    /// The event that it redacts.
    pub(super) redacts: Option<RedactionTarget>,
}

impl PastEvent {
    /// Returns the redactions that take effect with it, each with its target: that of the event by one that arrived
    /// earlier, and that which the event makes.
    pub(super) fn redactions(&self) -> Vec<(RedactionTarget, Arc<TimelineEvent>)> {
        let event = Arc::new(TimelineEvent::new(self.judged.nid, 0, self.judged.pdu.clone(), None, None));
        let itself = self.judged.redacted_by.clone().map(|because| (RedactionTarget::of(&event), because));
        itself.into_iter().chain(self.redacts.clone().map(|target| (target, event))).collect()
    }

    /// Returns the task that deletes its content, if it is a message that expires.
    pub(super) fn expiry_task(&self, room: &Room) -> Option<ScheduledTask> {
        let JudgedEvent { nid, pdu, verdict, redacted_by, .. } = &self.judged;
        let is_shown = *verdict == Verdict::Accepted && redacted_by.is_none();
        expiry_task::task(room, *nid, pdu).filter(|_| is_shown)
    }

    /// Whether later events can be judged only when it is in the database, where they may look for a state that is new
    /// with it, or for a redaction.
    pub(super) fn is_needed_by_later_ones(&self) -> bool {
        let judged = &self.judged;
        !judged.snapshots.is_empty() || judged.redacted_by.is_some() || redaction_target(&judged.pdu).is_some()
    }
}

/// The number of backfilled events that are in the graph and get positions.
#[derive(Default)]
pub(super) struct JudgedCount {
    /// Those that were judged just now.
    pub(super) new: usize,
    /// Those that were judged before.
    pub(super) before: usize,
}

/// Backfilled events that have been judged and are written together.
#[derive(Default)]
pub(super) struct Unwritten {
    pub(super) events: Vec<PastEvent>,
    /// The events as a lookup will find them.
    pub(super) known: HashMap<EventId, GraphNode>,
}

impl Unwritten {
    pub(super) fn add(&mut self, room: RoomNid, event: PastEvent) {
        let judged = &event.judged;
        let known = GraphNode {
            event_nid: judged.nid,
            event_id: event_key::encode(judged.pdu.event_id()),
            room_nid: room,
            position: None,
            depth: depth(&judged.pdu),
            is_state: judged.pdu.state_key().is_some(),
            snapshot_nid: judged.snapshot_before.map(|snapshot| snapshot.nid),
            verdict: judged.verdict,
        };
        self.known.insert(judged.pdu.event_id().clone(), known);
        self.events.push(event);
    }
}
