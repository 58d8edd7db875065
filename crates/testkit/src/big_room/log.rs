//! The events of a room in order, and the state at each of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use plexus_protocol::event::{Pdu, auth_types};
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;

use super::EventLists;

type Key = (String, String);

#[derive(Default)]
pub(super) struct Log {
    events: Vec<Logged>,
    by_id: HashMap<EventId, usize>,
    state: BTreeMap<Key, usize>,
    joined: HashSet<String>,
    handed_in: HashSet<String>,
}

pub(super) struct Logged {
    pub id: EventId,
    pub json: Bytes,
    /// Type and state key.
    key: Option<Key>,
    auth_events: Vec<usize>,
    prev_events: Vec<usize>,
}

impl Log {
    pub(super) fn add(&mut self, pdu: &Pdu) {
        let at = self.events.len();
        if self.by_id.contains_key(pdu.event_id()) {
            return;
        }
        self.by_id.insert(pdu.event_id().clone(), at);
        let key = pdu.state_key().map(|key| (pdu.event_type().to_owned(), key.to_owned()));
        if let Some((event_type, state_key)) = &key {
            if event_type == "m.room.member" {
                if pdu.content().get_str("membership") == Some("join") {
                    self.joined.insert(state_key.clone())
                } else {
                    self.joined.remove(state_key)
                };
            }
            self.state.insert((event_type.clone(), state_key.clone()), at);
        }
        let mut auth_events: Vec<usize> =
            pdu.auth_events().iter().filter_map(|id| self.by_id.get(id).copied()).collect();
        // In room version 12 and later the room id stands for the first event.
        auth_events.extend((at > 0 && pdu.rules().create_event_is_room_id).then_some(0));
        let prev_events = pdu.prev_events().iter().filter_map(|id| self.by_id.get(id).copied()).collect();
        let json = Bytes::from(pdu.json().to_owned());
        self.events.push(Logged { id: pdu.event_id().clone(), json, key, auth_events, prev_events });
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn state_len(&self) -> usize {
        self.state.len()
    }

    pub(super) fn joined(&self) -> usize {
        self.joined.len()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Logged> {
        self.events.iter()
    }

    pub(super) fn last(&self) -> Option<EventId> {
        self.events.last().map(|event| event.id.clone())
    }

    /// The ids of the last `count` events.
    pub(super) fn last_ids(&self, count: usize) -> Vec<String> {
        self.events.iter().rev().take(count).map(|event| event.id.to_string()).collect()
    }

    pub(super) fn find(&self, id: &str) -> Option<(usize, &Logged)> {
        let at = *self.by_id.get(&EventId::try_from(id).ok()?)?;
        Some((at, self.events.get(at)?))
    }

    /// Whether an event is a join that another server sent.
    pub(super) fn joins_others(&self, id: &str) -> bool {
        self.handed_in.contains(id)
    }

    /// Adds a join that another server sent.
    pub(super) fn hand_in(&mut self, pdu: &Pdu) {
        self.handed_in.insert(pdu.event_id().to_string());
        self.add(pdu);
    }

    /// Returns events before `from`, the newest first, at most `limit`: without `from`, `known`, and the events that
    /// are only reached through those.
    pub(super) fn back_from(&self, from: &[String], known: &[String], limit: usize) -> Vec<Bytes> {
        let number = |id: &String| self.find(id).map(|(at, _)| at);
        let known: HashSet<usize> = known.iter().filter_map(number).collect();
        let prev_events = |at: usize| self.events[at].prev_events.iter().copied().filter(|at| !known.contains(at));
        let mut open: BTreeSet<usize> = from.iter().filter_map(number).flat_map(prev_events).collect();
        let mut found = Vec::new();
        while let Some(at) = open.pop_last().filter(|_| found.len() < limit) {
            found.push(self.events[at].json.clone());
            open.extend(prev_events(at));
        }
        found
    }

    /// The servers that have joined users.
    pub(super) fn servers(&self) -> Vec<String> {
        let names = self.joined.iter().filter_map(|user| user.split_once(':')).map(|(_, name)| name.to_owned());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn auth_events(
        &self,
        version: RoomVersion,
        sender: &UserId,
        event_type: &str,
        state_key: Option<&str>,
        content: &Object,
    ) -> Vec<EventId> {
        let keys = auth_types::auth_event_keys(version.rules(), event_type, sender, state_key, content);
        let events = keys.iter().filter_map(|key| self.events.get(*self.state.get(key)?));
        events.map(|event| event.id.clone()).collect()
    }

    /// Returns the state before event number `at`, its auth events and, if `with_own`, the event. Of member events it
    /// has only that of `only_member`, if given.
    pub(super) fn before(&self, at: usize, only_member: Option<&str>, with_own: bool) -> EventLists {
        let (state, chain) = self.before_numbers(at, only_member, with_own);
        let json = |numbers: Vec<usize>| numbers.iter().map(|at| self.events[*at].json.clone()).collect();
        EventLists { state: json(state), auth_chain: json(chain) }
    }

    pub(super) fn ids_before(&self, at: usize) -> (Vec<String>, Vec<String>) {
        let (state, chain) = self.before_numbers(at, None, true);
        let ids = |numbers: Vec<usize>| numbers.iter().map(|at| self.events[*at].id.to_string()).collect();
        (ids(state), ids(chain))
    }

    fn before_numbers(&self, at: usize, only_member: Option<&str>, with_own: bool) -> (Vec<usize>, Vec<usize>) {
        let mut state: BTreeMap<&Key, usize> = BTreeMap::new();
        for (number, event) in self.events.iter().enumerate().take(at) {
            if let Some(key) = &event.key {
                state.insert(key, number);
            }
        }
        if let Some(user) = only_member {
            state.retain(|(event_type, state_key), _| event_type != "m.room.member" || state_key == user);
        }
        let state: Vec<usize> = state.into_values().collect();
        let mut chain = self.chain(state.iter().copied().chain(with_own.then_some(at)).collect());
        if only_member.is_some() {
            state.iter().for_each(|number| _ = chain.remove(number));
        }
        (state, chain.into_iter().collect())
    }

    /// Returns the auth chain of event number `at`.
    pub(super) fn auth_chain(&self, at: usize) -> Vec<Bytes> {
        self.chain(vec![at]).iter().map(|at| self.events[*at].json.clone()).collect()
    }

    fn chain(&self, mut open: Vec<usize>) -> BTreeSet<usize> {
        let mut chain = BTreeSet::new();
        while let Some(event) = open.pop().and_then(|number| self.events.get(number)) {
            open.extend(event.auth_events.iter().copied().filter(|number| chain.insert(*number)));
        }
        chain
    }
}
