//! An event that is to be built.

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::Object;
use plexus_store::EventNid;

use crate::model::timeline_event::{DUMMY_EVENT_TYPE, TimelineEvent, Transaction};
use crate::write::transactions::TransactionKey;

/// An event to be built on a room's head.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(crate) sender: UserId,
    pub(crate) event_type: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Object,
    pub(crate) redacts: Option<Redacts>,
    /// Unix ms; now when `None`.
    pub(crate) origin_server_ts: Option<u64>,
    /// See [`crate::NewEvent`].
    pub(crate) sticky_duration_ms: Option<u64>,
    pub(crate) transaction: Option<(TransactionKey, Transaction)>,
    /// Whether other servers get it at once. Otherwise they get it when they miss it.
    pub(crate) is_forwarded: bool,
}

impl Draft {
    /// Creates an event that only merges forward extremities.
    pub(crate) fn dummy(sender: &UserId) -> Self {
        Self {
            sender: sender.clone(),
            event_type: DUMMY_EVENT_TYPE.to_owned(),
            state_key: None,
            content: Object::new(),
            redacts: None,
            origin_server_ts: None,
            sticky_duration_ms: None,
            transaction: None,
            is_forwarded: false,
        }
    }

    /// Creates a state event.
    #[must_use]
    pub fn state(sender: &UserId, event_type: &str, state_key: &str, content: Object) -> Self {
        Self {
            sender: sender.clone(),
            event_type: event_type.to_owned(),
            state_key: Some(state_key.to_owned()),
            content,
            redacts: None,
            origin_server_ts: None,
            sticky_duration_ms: None,
            transaction: None,
            is_forwarded: true,
        }
    }
}

/// The event that a redaction names.
#[derive(Clone, Debug)]
pub(crate) struct Redacts {
    pub(crate) event_id: EventId,
    /// The event, if it is stored.
    pub(crate) target: Option<RedactionTarget>,
}

/// A stored event to be redacted.
#[derive(Clone, Debug)]
pub(crate) struct RedactionTarget {
    pub(crate) nid: EventNid,
    /// Whether it is in the timeline. An outlier may get there later.
    pub(crate) in_timeline: bool,
    /// The event as the redaction leaves it.
    pub(crate) redacted: Pdu,
}

impl RedactionTarget {
    pub(crate) fn of(event: &TimelineEvent) -> Self {
        Self { nid: event.nid, in_timeline: event.position != 0, redacted: redact::redact(&event.pdu) }
    }
}
