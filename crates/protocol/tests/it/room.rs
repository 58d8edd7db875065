//! Rooms whose events have readable ids: built without hashing and signing, which the rules of a room do not use.

use std::collections::{BTreeMap, HashMap, HashSet};

use plexus_protocol::{
    auth::AuthEvent,
    event::{Pdu, auth_types::auth_event_keys},
    id::{EventId, UserId},
    json::{Object, Value},
    rules::{EventIdFormat, RoomVersion},
    state_res::{AuthGraph, Resolution, State, resolve},
};

/// Type and state key.
pub(crate) type Key = (String, String);
pub(crate) type StateMap = BTreeMap<Key, EventId>;

pub(crate) struct Room {
    pub version: RoomVersion,
    pub events: HashMap<EventId, Pdu>,
    pub graph: AuthGraph,
    /// The events that were rejected when they were received.
    pub rejected: HashSet<EventId>,
}

/// An event to add; its auth events are selected from `state` unless given.
pub(crate) struct NewEvent<'a> {
    pub name: &'a str,
    pub sender: &'a str,
    pub event_type: &'a str,
    pub state_key: Option<&'a str>,
    pub content: Object,
    pub time: u64,
    pub depth: u64,
    pub prev: Vec<EventId>,
    pub state: &'a StateMap,
    pub auth: Option<Vec<EventId>>,
}

impl Room {
    pub(crate) fn new(version: RoomVersion) -> Self {
        Self { version, events: HashMap::new(), graph: AuthGraph::new(), rejected: HashSet::new() }
    }

    /// Returns the id of the event with this name.
    pub(crate) fn id(&self, name: &str) -> EventId {
        let rules = self.version.rules();
        let id = match rules.event_id_format {
            EventIdFormat::Server => format!("${name}:a"),
            // The room id is derived from it and must look like a hash.
            _ if name == "create" && rules.create_event_is_room_id => format!("${name:A<43}"),
            _ => format!("${name}"),
        };
        id.parse().unwrap()
    }

    /// Returns the name of the event with this id.
    pub(crate) fn name(id: &EventId) -> &str {
        let name = id.as_str().trim_start_matches('$').trim_end_matches(":a");
        if name.starts_with("createA") { "create" } else { name }
    }

    pub(crate) fn add(&mut self, new: NewEvent<'_>) -> Pdu {
        let rules = self.version.rules();
        let sender: UserId = new.sender.parse().unwrap();
        let auth = new.auth.unwrap_or_else(|| {
            let keys = auth_event_keys(rules, new.event_type, &sender, new.state_key, &new.content);
            keys.iter().filter_map(|key| new.state.get(key).cloned()).collect()
        });
        let references = |ids: &[EventId]| -> Vec<Value> {
            let reference = |id: &EventId| match rules.event_id_format {
                EventIdFormat::Server => Value::Array(vec![id.as_str().into(), Object::new().into()]),
                _ => id.as_str().into(),
            };
            ids.iter().map(reference).collect()
        };
        let id = self.id(new.name);
        let mut event = Object::new();
        event.insert("type", new.event_type);
        event.insert("sender", new.sender);
        event.insert("content", new.content);
        event.insert("origin_server_ts", new.time);
        event.insert("depth", new.depth);
        event.insert("auth_events", references(&auth));
        event.insert("prev_events", references(&new.prev));
        if let Some(state_key) = new.state_key {
            event.insert("state_key", state_key);
        }
        if !rules.create_event_is_room_id {
            event.insert("room_id", "!room:a");
            if rules.event_id_format == EventIdFormat::Server {
                event.insert("event_id", id.as_str());
            }
        } else if new.event_type != "m.room.create" {
            event.insert("room_id", self.id("create").as_str().replace('$', "!").as_str());
        }
        let pdu = Pdu::from_stored(&event.to_json(), id.clone(), self.version).unwrap();
        self.graph.add(&pdu);
        self.events.insert(id, pdu.clone());
        pdu
    }

    /// Returns the state after an event, given the state before it.
    pub(crate) fn after(state: &StateMap, event: &Pdu) -> StateMap {
        let mut state = state.clone();
        if let Some(state_key) = event.state_key() {
            state.insert((event.event_type().to_owned(), state_key.to_owned()), event.event_id().clone());
        }
        state
    }

    /// Returns an event as a store would.
    pub(crate) fn lookup(&self, id: &EventId) -> Option<AuthEvent> {
        self.events.get(id).map(|pdu| AuthEvent { pdu: pdu.clone(), rejected: self.rejected.contains(id) })
    }

    /// Resolves states with all events at hand.
    pub(crate) fn resolve(&self, states: &[StateMap]) -> StateMap {
        let states = states.iter().map(|state| State::new(&self.graph, state.values()).unwrap()).collect::<Vec<_>>();
        match resolve(self.version.rules(), &self.graph, &states, &|id| self.lookup(id)).unwrap() {
            Resolution::Resolved(state) => self.map(&state),
            Resolution::Need(events) => panic!("needs {events:?}"),
        }
    }

    pub(crate) fn map(&self, state: &State) -> StateMap {
        let entry = |(key, node)| {
            let (event_type, state_key) = self.graph.key_name(key);
            ((event_type.to_owned(), state_key.to_owned()), self.graph.id(node).clone())
        };
        state.iter().map(entry).collect()
    }
}
