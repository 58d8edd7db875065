//! Events of the past that have been judged, on their way to the database.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::event::redact::redaction_target;
use plexus_protocol::id::EventId;
use plexus_store::repo::events::{Known, Verdict};
use plexus_store::{EventNid, RoomNid, event_key};

use crate::model::timeline_event::TimelineEvent;
use crate::write::persist::PendingSnapshot;
use crate::write::redactions::Target;

/// An event of the past, judged.
pub(super) struct Past {
    pub nid: EventNid,
    pub stored: bool,
    pub pdu: Pdu,
    pub verdict: Verdict,
    pub snapshot_nid: i64,
    pub snapshots: Vec<PendingSnapshot>,
    pub redacted_by: Option<Arc<TimelineEvent>>,
    pub redacts: Option<Target>,
}

impl Past {
    /// What is redacted with it, each with its redaction: itself, by one that came before it, and what it redacts.
    pub fn redactions(&self) -> Vec<(Target, Arc<TimelineEvent>)> {
        let event = Arc::new(TimelineEvent::new(self.nid, 0, self.pdu.clone(), None, None));
        let itself = self.redacted_by.clone().map(|because| (Target::of(&event), because));
        itself.into_iter().chain(self.redacts.clone().map(|target| (target, event))).collect()
    }

    /// Whether events that come after it can be judged only when it is in the database: they may find a state there
    /// that is new with it, or a redaction.
    pub fn is_needed_by_later_ones(&self) -> bool {
        let is_redacted = self.redacted_by.is_some();
        !self.snapshots.is_empty() || is_redacted || redaction_target(&self.pdu).is_some()
    }
}

/// How many events of the past are in the graph and get positions.
#[derive(Default)]
pub(super) struct Judged {
    /// Those that were judged just now.
    pub new: usize,
    /// Those that were judged before.
    pub before: usize,
}

/// Events of the past that have been judged and are written together.
#[derive(Default)]
pub(super) struct Unwritten {
    pub past: Vec<Past>,
    /// As they will be known.
    pub known: HashMap<EventId, Known>,
}

impl Unwritten {
    pub fn add(&mut self, room: RoomNid, past: Past) {
        let known = Known {
            event_nid: past.nid,
            event_id: event_key::encode(past.pdu.event_id()),
            room_nid: room,
            position: None,
            depth: super::depth(&past.pdu),
            is_state: past.pdu.state_key().is_some(),
            snapshot_nid: Some(past.snapshot_nid),
            verdict: past.verdict,
        };
        self.known.insert(past.pdu.event_id().clone(), known);
        self.past.push(past);
    }
}
