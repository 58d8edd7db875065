//! Stripped state (<https://spec.matrix.org/v1.19/client-server-api/#stripped-state>): describes a room to a user who
//! is not in it.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_base::config::PrejoinStateEntry;
use plexus_protocol::event::{MAX_PDU, Pdu};
use plexus_protocol::id::UserId;
use plexus_protocol::json::{self, MAX_NESTING, Object, Value};
use plexus_store::DbError;
use serde_json::value::RawValue;

use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::rooms::Rooms;
use crate::model::state_map::StateEntry;

/// The maximum number of stripped state events of an invite, or of the response to a knock.
pub const MAX_STRIPPED_EVENTS: usize = 100;
/// The maximum size of a stripped state event, in bytes of JSON: no whole event is larger.
pub(crate) const MAX_STRIPPED_EVENT_BYTES: usize = MAX_PDU;
/// The maximum size of the stripped state of a room, in bytes of JSON: eight events of the maximum size, about as many
/// as rooms usually have. It is stored in the `unsigned` of an event, whose maximum size in the database is far
/// greater.
pub const MAX_STRIPPED_STATE_BYTES: usize = 8 * MAX_STRIPPED_EVENT_BYTES;
/// The maximum size of an event that is parsed to be stripped, in bytes. White space and fields such as `unsigned` are
/// removed from it.
const MAX_UNSTRIPPED_EVENT_BYTES: usize = 2 * MAX_STRIPPED_EVENT_BYTES;
/// The maximum nesting of a stripped state event: it is stored three levels deep, in an array in `unsigned`.
const MAX_STRIPPED_NESTING: usize = MAX_NESTING - 3;

/// The types of stripped state, besides `m.room.create`, unless they are configured.
const DEFAULT_TYPES: [&str; 6] = [
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// Returns the types of stripped state, besides `m.room.create`, unless they are configured.
pub fn default_types() -> impl Iterator<Item = PrejoinStateEntry> {
    DEFAULT_TYPES.into_iter().map(PrejoinStateEntry::only)
}

impl Rooms {
    /// Returns the stripped state of a room as JSON objects, with the member event of `sender`, and without
    /// `membership`, the invite or knock. For a room that this server is not in, returns the stripped state attached to
    /// `membership`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stripped_state(
        &self,
        room: &Room,
        membership: &Pdu,
        sender: Option<&UserId>,
    ) -> Result<Vec<String>, DbError> {
        let view = room.view();
        if view.state.get("m.room.create", "").is_none() {
            return Ok(attached_state(membership).iter().map(Object::to_json).collect());
        }
        let mut seen = HashSet::new();
        let mut events = Vec::new();
        for entry in self.stripped_state_entries(&view, sender) {
            if !seen.insert(entry.nid) {
                continue;
            }
            if let Some(event) = room.readable_state_event(entry).await?
                && event.pdu.event_id() != membership.event_id()
            {
                events.push(stripped(&event.pdu));
            }
        }
        Ok(events)
    }

    /// Returns the entries of a room's stripped state, with the member event of `sender`. An entry may occur twice.
    pub fn stripped_state_entries<'a>(
        &'a self,
        view: &'a RoomView,
        sender: Option<&UserId>,
    ) -> Vec<&'a Arc<StateEntry>> {
        let mut entries = Vec::from_iter(view.state.get("m.room.create", ""));
        for shown in &self.stripped_state_types {
            match &shown.state_key {
                Some(state_key) => entries.extend(view.state.get(&shown.event_type, state_key)),
                None => entries.extend(view.state.of_type(&shown.event_type)),
            }
        }
        entries.extend(sender.and_then(|sender| view.state.get("m.room.member", sender.as_str())));
        entries
    }
}

/// Stripped state from another server, bounded so that the event it is stored with can be read again.
#[derive(Debug, Default)]
pub struct StrippedState {
    events: Vec<Value>,
    bytes: usize,
}

/// The stripped state exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuchStrippedState {
    /// Too many events.
    #[error("there are more than {MAX_STRIPPED_EVENTS} stripped state events")]
    Events,
    /// Too large an event.
    #[error(
        "a stripped state event has more than {MAX_STRIPPED_EVENT_BYTES} bytes \
         or nests deeper than {MAX_STRIPPED_NESTING}"
    )]
    Event,
    /// The stripped state is too large.
    #[error("the stripped state has more than {MAX_STRIPPED_STATE_BYTES} bytes")]
    Bytes,
}

impl StrippedState {
    /// Strips state events from another server. Values that are not state events are left out.
    ///
    /// # Errors
    /// When a limit is exceeded.
    pub fn all(sent: &[Box<RawValue>]) -> Result<Self, TooMuchStrippedState> {
        if sent.len() > MAX_STRIPPED_EVENTS {
            return Err(TooMuchStrippedState::Events);
        }
        let mut state = Self::default();
        sent.iter().try_for_each(|event| state.add(event))?;
        Ok(state)
    }

    /// Strips state events from another server, and leaves out events that exceed a limit.
    #[must_use]
    pub fn fitting(sent: &[Box<RawValue>]) -> Self {
        let mut state = Self::default();
        let refused = sent.iter().filter(|event| state.add(event).is_err()).count();
        if refused > 0 {
            tracing::info!("{refused} of {} stripped state events are left out, as they exceed a limit", sent.len());
        }
        state
    }

    fn add(&mut self, event: &RawValue) -> Result<(), TooMuchStrippedState> {
        // The parsed event takes many times as much memory.
        if event.get().len() > MAX_UNSTRIPPED_EVENT_BYTES {
            return Err(TooMuchStrippedState::Event);
        }
        let Ok(event) = Object::parse(event.get()) else { return Ok(()) };
        if !is_stripped(&event) {
            return Ok(());
        }
        let event = only_stripped_fields(&event);
        // The JSON as it will be stored, where numbers may be longer.
        let bytes = event.to_json().len() + 1;
        if bytes > MAX_STRIPPED_EVENT_BYTES || event.nests_deeper_than(MAX_STRIPPED_NESTING) {
            return Err(TooMuchStrippedState::Event);
        }
        if self.events.len() >= MAX_STRIPPED_EVENTS {
            return Err(TooMuchStrippedState::Events);
        }
        if self.bytes + bytes > MAX_STRIPPED_STATE_BYTES {
            return Err(TooMuchStrippedState::Bytes);
        }
        self.bytes += bytes;
        self.events.push(Value::Object(event));
        Ok(())
    }

    /// Returns an invite or knock with the stripped state in its `unsigned`, as `name`.
    #[must_use]
    pub fn attach_to(self, pdu: &Pdu, name: &str) -> Pdu {
        pdu.with_unsigned(Some(Object::from([(name, Value::Array(self.events))])))
    }
}

/// Returns the stripped state attached to an invite or knock. Earlier versions of this program stored whole events,
/// which are stripped here.
pub fn attached_state(pdu: &Pdu) -> Vec<Object> {
    let state = |name| pdu.unsigned().and_then(|unsigned| unsigned.get(name)).and_then(Value::as_array);
    let state = state("invite_room_state").or_else(|| state("knock_room_state"));
    let state = state.into_iter().flatten().filter_map(Value::as_object).filter(|event| is_stripped(event));
    state.map(only_stripped_fields).collect()
}

/// Returns the fields of a stripped state event.
fn only_stripped_fields(event: &Object) -> Object {
    let kept = |(key, _): &(&str, &Value)| matches!(*key, "content" | "sender" | "state_key" | "type");
    event.iter().filter(kept).map(|(key, value)| (key, value.clone())).collect()
}

/// Whether a value from another server is a stripped state event. Clients rely on it.
fn is_stripped(event: &Object) -> bool {
    let texts = event.get_str("type").is_some() && event.get_str("state_key").is_some();
    let sender = event.get_str("sender").is_some_and(|sender| UserId::try_from(sender).is_ok());
    texts && sender && event.get_object("content").is_some()
}

/// Returns the JSON of a stripped state event.
fn stripped(pdu: &Pdu) -> String {
    let mut out = String::with_capacity(pdu.content_json().len() + 128);
    out.push_str("{\"content\":");
    out.push_str(pdu.content_json());
    for (name, value) in [
        ("sender", pdu.sender().as_str()),
        ("state_key", pdu.state_key().unwrap_or_default()),
        ("type", pdu.event_type()),
    ] {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        json::write_string(value, &mut out);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use plexus_protocol::rules::RoomVersion;
    use serde_json::value::RawValue;

    use super::*;

    fn raw(json: String) -> Box<RawValue> {
        RawValue::from_string(json).unwrap()
    }

    fn event(content: &str) -> Box<RawValue> {
        raw(format!(
            r#"{{"content":{content},"sender":"@a:b","state_key":"","type":"m.room.topic","unsigned":{{"a":1}}}}"#
        ))
    }

    fn topic(length: usize) -> Box<RawValue> {
        event(&format!(r#"{{"topic":"{}"}}"#, "x".repeat(length)))
    }

    fn stored(state: StrippedState) -> Pdu {
        let member = r#"{"auth_events":[],"content":{"membership":"invite"},"depth":1,"hashes":{},"origin_server_ts":1,
            "prev_events":[],"room_id":"!r:b","sender":"@a:b","signatures":{},"state_key":"@c:d",
            "type":"m.room.member"}"#;
        let member = Pdu::parse(member, RoomVersion::V11).unwrap();
        let pdu = state.attach_to(&member, "invite_room_state");
        let packed = plexus_store::pdu_json::pack(pdu.json()).unwrap();
        let json = plexus_store::pdu_json::unpack(&packed).unwrap();
        Pdu::from_stored(&json, pdu.event_id().clone(), RoomVersion::V11).unwrap()
    }

    #[test]
    fn only_the_fields_of_stripped_state_are_kept() {
        let state = StrippedState::all(&[topic(1), raw("7".to_owned()), raw("{}".to_owned())]).unwrap();
        let attached = attached_state(&stored(state));
        assert_eq!(
            attached.iter().map(Object::to_json).collect::<Vec<_>>(),
            [r#"{"content":{"topic":"x"},"sender":"@a:b","state_key":"","type":"m.room.topic"}"#]
        );
    }

    #[test]
    fn an_event_may_be_as_large_as_the_limit() {
        let empty = StrippedState::all(&[topic(0)]).unwrap().bytes;
        let largest = StrippedState::all(&[topic(MAX_STRIPPED_EVENT_BYTES - empty)]).unwrap();
        assert_eq!(largest.bytes, MAX_STRIPPED_EVENT_BYTES);
        let larger = StrippedState::all(&[topic(MAX_STRIPPED_EVENT_BYTES - empty + 1)]);
        assert_eq!(larger.err(), Some(TooMuchStrippedState::Event));
    }

    #[test]
    fn stored_stripped_state_can_be_read_again() {
        type Case = (Vec<Box<RawValue>>, Result<usize, TooMuchStrippedState>);
        let nested = |depth: usize| event(&format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth)));
        // As canonical JSON of the first room versions writes it, this number has 18 digits.
        let numbers = event(&format!(r#"{{"a":[{}1e15]}}"#, "1e15,".repeat(12_000)));
        let cases: [Case; 8] = [
            ((0..100).map(|_| topic(10)).collect(), Ok(100)),
            ((0..101).map(|_| topic(10)).collect(), Err(TooMuchStrippedState::Events)),
            ((0..8).map(|_| topic(65_000)).collect(), Ok(8)),
            ((0..9).map(|_| topic(65_000)).collect(), Err(TooMuchStrippedState::Bytes)),
            (vec![topic(10), topic(140_000)], Err(TooMuchStrippedState::Event)),
            (vec![numbers], Err(TooMuchStrippedState::Event)),
            (vec![nested(495)], Ok(1)),
            (vec![topic(10), nested(497)], Err(TooMuchStrippedState::Event)),
        ];
        for (sent, wanted) in cases {
            let all = StrippedState::all(&sent);
            assert_eq!(all.as_ref().map(|state| state.events.len()).map_err(|error| *error), wanted);
            let kept = StrippedState::fitting(&sent);
            let fit = sent.len() - usize::from(wanted.is_err());
            assert_eq!(kept.events.len(), wanted.unwrap_or(fit), "what fits is kept");
            assert_eq!(attached_state(&stored(kept)).len(), wanted.unwrap_or(fit));
        }
    }
}
