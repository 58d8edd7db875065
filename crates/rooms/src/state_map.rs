//! The state of a room: (event type, state key) to the event that set it.

use std::sync::{Arc, OnceLock};

use plexus_protocol::event::Pdu;
use plexus_store::EventNid;

use crate::membership_kind::MembershipKind;
use crate::sorted::SortedSet;
use crate::timeline_event::TimelineEvent;

/// One state event as the state of a room holds it: light, its event loaded only when needed.
#[derive(Debug)]
pub struct StateEntry {
    /// The event's type.
    pub event_type: Arc<str>,
    /// The event's state key.
    pub state_key: Arc<str>,
    /// The event.
    pub nid: EventNid,
    /// For an `m.room.member` event its `membership`.
    pub membership: Option<MembershipKind>,
    pdu: OnceLock<Pdu>,
    event: OnceLock<Arc<TimelineEvent>>,
}

impl StateEntry {
    /// An entry for an event that is not committed yet, or that has just been redacted.
    #[must_use]
    pub(crate) fn with_pdu(event_type: Arc<str>, state_key: Arc<str>, nid: EventNid, pdu: Pdu) -> Self {
        let membership = (&*event_type == "m.room.member").then(|| MembershipKind::of(&pdu)).flatten();
        Self { event_type, state_key, nid, membership, pdu: OnceLock::from(pdu), event: OnceLock::new() }
    }

    /// An entry whose event is in the database only.
    #[must_use]
    pub(crate) fn stored(
        event_type: Arc<str>,
        state_key: Arc<str>,
        nid: EventNid,
        membership: Option<MembershipKind>,
    ) -> Self {
        Self { event_type, state_key, nid, membership, pdu: OnceLock::new(), event: OnceLock::new() }
    }

    /// The event, when it is in memory. [`crate::Room::state_event`] loads it when not.
    #[must_use]
    pub fn event(&self) -> Option<&Arc<TimelineEvent>> {
        self.event.get()
    }

    /// The event as it federates, when it is in memory; redacted when it has been redacted.
    #[must_use]
    pub fn pdu(&self) -> Option<&Pdu> {
        self.pdu.get().or_else(|| self.event.get().map(|event| &event.pdu))
    }

    /// Remembers the event once it has been loaded or committed.
    pub(crate) fn remember(&self, event: Arc<TimelineEvent>) -> &Arc<TimelineEvent> {
        self.event.get_or_init(|| event)
    }
}

/// An immutable state map; clones share structure. Ordered by (event type, state key).
#[derive(Clone, Debug, Default)]
pub struct StateMap {
    entries: SortedSet<Arc<StateEntry>>,
}

impl StateMap {
    /// The entry of one type and state key.
    #[must_use]
    pub fn get(&self, event_type: &str, state_key: &str) -> Option<&Arc<StateEntry>> {
        self.entries.find(|entry| (&*entry.event_type, &*entry.state_key).cmp(&(event_type, state_key)))
    }

    /// All entries, in order of type and state key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StateEntry>> + Clone {
        self.entries.iter()
    }

    /// All entries of one type, in order of state key.
    pub fn of_type<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = &'a Arc<StateEntry>> {
        self.entries
            .iter_from(move |entry| (&*entry.event_type, &*entry.state_key).cmp(&(event_type, "")))
            .take_while(move |entry| &*entry.event_type == event_type)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the state is empty, as before the create event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets an entry and answers the one it replaces.
    pub fn insert(&mut self, entry: Arc<StateEntry>) -> Option<Arc<StateEntry>> {
        let key = (Arc::clone(&entry.event_type), Arc::clone(&entry.state_key));
        self.entries.insert(entry, |other| (&*other.event_type, &*other.state_key).cmp(&(&*key.0, &*key.1)))
    }

    /// The membership of a user in this state, `None` when there is no member event.
    #[must_use]
    pub fn membership(&self, user: &str) -> Option<MembershipKind> {
        self.get("m.room.member", user).and_then(|entry| entry.membership)
    }
}
