//! An event that is to be built.

use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::Object;

use crate::model::timeline_event::Transaction;
use crate::write::redactions::Target;
use crate::write::transactions::TransactionKey;

/// An event to be built on a room's head.
#[derive(Clone, Debug)]
pub struct Draft {
    pub sender: UserId,
    pub event_type: String,
    pub state_key: Option<String>,
    pub content: Object,
    pub redacts: Option<Redacts>,
    /// Unix ms; now when `None`.
    pub origin_server_ts: Option<u64>,
    pub transaction: Option<(TransactionKey, Transaction)>,
}

impl Draft {
    /// A state event.
    pub fn state(sender: &UserId, event_type: &str, state_key: &str, content: Object) -> Self {
        Self {
            sender: sender.clone(),
            event_type: event_type.to_owned(),
            state_key: Some(state_key.to_owned()),
            content,
            redacts: None,
            origin_server_ts: None,
            transaction: None,
        }
    }
}

/// What a redaction redacts.
#[derive(Clone, Debug)]
pub struct Redacts {
    pub event_id: EventId,
    /// The event, when it is known.
    pub target: Option<Target>,
}
