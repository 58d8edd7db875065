//! The state of a room: (event type, state key) to the event that set it.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use plexus_protocol::event::Pdu;
use plexus_protocol::membership::Membership;
use plexus_store::EventNid;

use crate::model::sorted::SortedSet;
use crate::model::timeline_event::TimelineEvent;

/// An entry of a room's state. Its event is loaded only when needed.
///
/// Entries with an empty state key keep their event in memory; there are few of them. Others, mostly members, hold it
/// weakly, so that a large room is not in memory as a whole.
///
/// The event in memory is valid until a redaction changes what it shows ([`crate::Room::state_event`]).
#[derive(Debug)]
pub struct StateEntry {
    /// The event's type.
    pub event_type: Arc<str>,
    /// The event's state key.
    pub state_key: Arc<str>,
    /// The number of the event.
    pub nid: EventNid,
    /// For an `m.room.member` event its `membership`.
    pub membership: Option<Membership>,
    pdu: OnceLock<Pdu>,
    memory: Mutex<InMemory>,
}

/// [`InMemory::as_of`] of an event whose own content is up to date, but perhaps not the parts of others that it shows.
pub(crate) const OWN_CONTENT_ONLY: u64 = 0;

/// The event of an entry, as far as it is in memory.
#[derive(Debug, Default)]
struct InMemory {
    /// The room's count of redactions ([`crate::Room::redactions`]) when the event was read.
    as_of: u64,
    event: Held,
}

#[derive(Debug, Default)]
enum Held {
    #[default]
    None,
    Strong(Arc<TimelineEvent>),
    Weak(Weak<TimelineEvent>),
}

impl Held {
    fn get(&self) -> Option<Arc<TimelineEvent>> {
        match self {
            Self::None => None,
            Self::Strong(event) => Some(Arc::clone(event)),
            Self::Weak(event) => event.upgrade(),
        }
    }
}

impl StateEntry {
    /// Creates an entry for an event in memory. The caller keeps an event that is not committed yet until it is.
    #[must_use]
    pub fn of(event_type: Arc<str>, state_key: Arc<str>, event: &Arc<TimelineEvent>) -> Self {
        let membership = (&*event_type == "m.room.member").then(|| Membership::of(&event.pdu)).flatten();
        let entry = Self::stored(event_type, state_key, event.nid, membership);
        entry.remember_content(event);
        entry
    }

    /// Returns this entry whose event has been redacted to `event`. The caller keeps `event` until the redaction is
    /// committed.
    #[must_use]
    pub fn redacted(&self, event: &Arc<TimelineEvent>) -> Self {
        let entry = Self::stored(Arc::clone(&self.event_type), Arc::clone(&self.state_key), self.nid, self.membership);
        entry.remember_content(event);
        entry
    }

    /// Creates an entry whose event is not in memory.
    #[must_use]
    pub fn stored(event_type: Arc<str>, state_key: Arc<str>, nid: EventNid, membership: Option<Membership>) -> Self {
        Self { event_type, state_key, nid, membership, pdu: OnceLock::new(), memory: Mutex::default() }
    }

    /// Whether the entry keeps its event in memory.
    pub fn keeps_event(&self) -> bool {
        self.state_key.is_empty()
    }

    /// Returns the event, if it is in memory and no redaction since has changed what it shows. `as_of` is the room's
    /// count of redactions. [`crate::Room::state_event`] loads other events.
    #[must_use]
    pub fn event(&self, as_of: u64) -> Option<Arc<TimelineEvent>> {
        let memory = self.memory.lock();
        if memory.as_of == as_of { memory.event.get() } else { None }
    }

    /// Returns the event as it federates, or as its redaction left it, if the entry keeps it.
    #[must_use]
    pub fn pdu(&self) -> Option<&Pdu> {
        self.pdu.get()
    }

    /// Returns the event as it federates, if it is in memory.
    #[must_use]
    pub fn pdu_in_memory(&self) -> Option<Pdu> {
        self.pdu.get().cloned().or_else(|| self.memory.lock().event.get().map(|event| event.pdu.clone()))
    }

    /// Remembers the event after it was loaded or committed. `as_of` is the room's count of redactions before it was
    /// read.
    pub(crate) fn remember(&self, event: &Arc<TimelineEvent>, as_of: u64) {
        let held = if self.keeps_event() {
            self.pdu.get_or_init(|| event.pdu.clone());
            Held::Strong(Arc::clone(event))
        } else {
            Held::Weak(Arc::downgrade(event))
        };
        *self.memory.lock() = InMemory { as_of, event: held };
    }

    /// Remembers the event's own content.
    pub(crate) fn remember_content(&self, event: &Arc<TimelineEvent>) {
        if self.keeps_event() {
            self.pdu.get_or_init(|| event.pdu.clone());
        } else {
            self.remember(event, OWN_CONTENT_ONLY);
        }
    }
}

/// An immutable state map; clones share structure. Ordered by (event type, state key).
#[derive(Clone, Debug, Default)]
pub struct StateMap {
    entries: SortedSet<Arc<StateEntry>>,
}

impl StateMap {
    /// Returns the entry of a type and state key.
    #[must_use]
    pub fn get(&self, event_type: &str, state_key: &str) -> Option<&Arc<StateEntry>> {
        self.entries.find(|entry| (&*entry.event_type, &*entry.state_key).cmp(&(event_type, state_key)))
    }

    /// Returns all entries, in order of type and state key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StateEntry>> + Clone {
        self.entries.iter()
    }

    /// Returns all entries of a type, in order of state key.
    pub fn of_type<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = &'a Arc<StateEntry>> {
        self.entries
            .iter_from(move |entry| (&*entry.event_type, &*entry.state_key).cmp(&(event_type, "")))
            .take_while(move |entry| &*entry.event_type == event_type)
    }

    /// Returns the types and state keys for which two states have different events, in order.
    #[must_use]
    pub(crate) fn difference(&self, other: &Self) -> Vec<(Arc<str>, Arc<str>)> {
        let (mut ours, mut theirs) = self.entries.unshared(&other.entries);
        let key = |entry: &Arc<StateEntry>| (Arc::clone(&entry.event_type), Arc::clone(&entry.state_key));
        let mut found = Vec::new();
        let (mut our, mut their) = (ours.next(), theirs.next());
        while let Some(entry) = our.or(their) {
            let order = match (our, their) {
                (Some(our), Some(their)) => {
                    (&our.event_type, &our.state_key).cmp(&(&their.event_type, &their.state_key))
                }
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            match order {
                Ordering::Less => found.push(key(entry)),
                Ordering::Greater => found.extend(their.map(key)),
                Ordering::Equal => {
                    if our.map(|entry| entry.nid) != their.map(|entry| entry.nid) {
                        found.push(key(entry));
                    }
                }
            }
            if order != Ordering::Greater {
                our = ours.next();
            }
            if order != Ordering::Less {
                their = theirs.next();
            }
        }
        found
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the state is empty, as before the create event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets an entry. Returns the one it replaces.
    pub fn insert(&mut self, entry: Arc<StateEntry>) -> Option<Arc<StateEntry>> {
        let key = (Arc::clone(&entry.event_type), Arc::clone(&entry.state_key));
        self.entries.insert(entry, |other| (&*other.event_type, &*other.state_key).cmp(&(&*key.0, &*key.1)))
    }

    /// Removes an entry, and returns it.
    pub fn remove(&mut self, event_type: &str, state_key: &str) -> Option<Arc<StateEntry>> {
        self.entries.remove(|entry| (&*entry.event_type, &*entry.state_key).cmp(&(event_type, state_key)))
    }

    /// Returns the membership of a user; `None` if there is no member event.
    #[must_use]
    pub fn membership(&self, user: &str) -> Option<Membership> {
        self.get("m.room.member", user).and_then(|entry| entry.membership)
    }
}

/// Returns an event type as a string that is shared with the other entries of the state.
pub(crate) fn shared_type(state: &StateMap, event_type: &str) -> Arc<str> {
    state.of_type(event_type).next().map_or_else(|| event_type.into(), |entry| Arc::clone(&entry.event_type))
}
