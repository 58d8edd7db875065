//! Events in a delta.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use plexus_rooms::TimelineEvent;

/// One piece of account data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountData {
    /// The type, for instance `m.tag`.
    pub event_type: String,
    /// JSON
    pub content: String,
}

/// Events of a room. Printed by type, state key and sender.
#[derive(Default)]
pub struct EventList(pub Vec<Arc<TimelineEvent>>);

impl Deref for EventList {
    type Target = [Arc<TimelineEvent>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for EventList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|event| Printed(event))).finish()
    }
}

/// Prints an event by type, state key and sender.
pub(super) struct Printed<'e>(pub &'e TimelineEvent);

impl fmt::Debug for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pdu = &self.0.pdu;
        match pdu.state_key() {
            Some(state_key) => write!(f, "{} {state_key:?} of {}", pdu.event_type(), pdu.sender()),
            None => write!(f, "{} of {}", pdu.event_type(), pdu.sender()),
        }
    }
}
