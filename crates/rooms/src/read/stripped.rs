//! What describes a room to somebody who is not in it (client-server API, "Stripped state").

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

/// How many stripped state events an invite or the answer to a knock may bring.
pub const MAX_STRIPPED_EVENTS: usize = 100;
/// The largest stripped state event, in bytes of JSON: the whole event that it is made of is no larger.
pub(crate) const MAX_STRIPPED_EVENT_BYTES: usize = MAX_PDU;
/// The largest stripped state of a room, in bytes of JSON. It holds eight events of the largest size, as many as
/// usually describe a room; and it stays far below what the database takes of one event, in whose `unsigned` it is
/// stored.
pub const MAX_STRIPPED_STATE_BYTES: usize = 8 * MAX_STRIPPED_EVENT_BYTES;
/// The largest event that is parsed to be stripped, in bytes: spaces and fields such as `unsigned` do not count in the
/// end.
const MAX_UNSTRIPPED_EVENT_BYTES: usize = 2 * MAX_STRIPPED_EVENT_BYTES;
/// How deep the arrays and objects of a stripped state event may nest: it is stored three levels down, in an array in
/// `unsigned`.
const MAX_STRIPPED_NESTING: usize = MAX_NESTING - 3;

const USUAL: [&str; 6] = [
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// The state that describes a room, besides `m.room.create`, unless the configuration says otherwise.
pub fn usual() -> impl Iterator<Item = PrejoinStateEntry> {
    USUAL.into_iter().map(PrejoinStateEntry::only)
}

impl Rooms {
    /// The stripped state (JSON objects) of a room this server is in, with the member event of `sender` if they are a
    /// member, and without `membership`, the invite or knock; of a room on other servers what came along with that.
    pub async fn describe(
        &self,
        room: &Room,
        membership: &Pdu,
        sender: Option<&UserId>,
    ) -> Result<Vec<String>, DbError> {
        let view = room.view();
        if view.state.get("m.room.create", "").is_none() {
            return Ok(sent_along(membership).iter().map(Object::to_json).collect());
        }
        let mut told = HashSet::new();
        let mut events = Vec::new();
        for entry in self.describing(&view, sender) {
            if !told.insert(entry.nid) {
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

    /// The state that describes a room, with the member event of `sender` if they have one. An event may be there twice.
    pub fn describing<'a>(&'a self, view: &'a RoomView, sender: Option<&UserId>) -> Vec<&'a Arc<StateEntry>> {
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

/// Stripped state that another server sent, bounded so that what it is stored with can be read again.
#[derive(Debug, Default)]
pub struct StrippedState {
    events: Vec<Value>,
    bytes: usize,
}

/// More stripped state than is taken.
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
    /// Too much in all.
    #[error("the stripped state has more than {MAX_STRIPPED_STATE_BYTES} bytes")]
    Bytes,
}

impl StrippedState {
    /// Everything that was sent, stripped; what is no state event is left out.
    ///
    /// # Errors
    /// When it is too much.
    pub fn all(sent: &[Box<RawValue>]) -> Result<Self, TooMuchStrippedState> {
        if sent.len() > MAX_STRIPPED_EVENTS {
            return Err(TooMuchStrippedState::Events);
        }
        let mut state = Self::default();
        sent.iter().try_for_each(|event| state.add(event))?;
        Ok(state)
    }

    /// As much of what was sent as fits.
    #[must_use]
    pub fn fitting(sent: &[Box<RawValue>]) -> Self {
        let mut state = Self::default();
        let refused = sent.iter().filter(|event| state.add(event).is_err()).count();
        if refused > 0 {
            tracing::info!("{refused} of {} stripped state events are left out: they are too large", sent.len());
        }
        state
    }

    fn add(&mut self, event: &RawValue) -> Result<(), TooMuchStrippedState> {
        // A tree takes many times as much memory.
        if event.get().len() > MAX_UNSTRIPPED_EVENT_BYTES {
            return Err(TooMuchStrippedState::Event);
        }
        let Ok(event) = Object::parse(event.get()) else { return Ok(()) };
        if !is_stripped(&event) {
            return Ok(());
        }
        let event = only_stripped_fields(&event);
        // As it will be stored: numbers may have become longer.
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

    /// An invite or knock with the stripped state that came with it in `unsigned`, as `name`.
    #[must_use]
    pub fn along(self, pdu: &Pdu, name: &str) -> Pdu {
        pdu.with_unsigned(Some(Object::from([(name, Value::Array(self.events))])))
    }
}

/// What the other server sent along with an invite or knock: stripped, or, where an earlier version of this program
/// stored it, whole events.
pub fn sent_along(pdu: &Pdu) -> Vec<Object> {
    let state = |name| pdu.unsigned().and_then(|unsigned| unsigned.get(name)).and_then(Value::as_array);
    let state = state("invite_room_state").or_else(|| state("knock_room_state"));
    let state = state.into_iter().flatten().filter_map(Value::as_object).filter(|event| is_stripped(event));
    state.map(only_stripped_fields).collect()
}

/// What the specification lists of a stripped state event (client-server API, "Stripped state").
fn only_stripped_fields(event: &Object) -> Object {
    let kept = |(key, _): &(&str, &Value)| matches!(*key, "content" | "sender" | "state_key" | "type");
    event.iter().filter(kept).map(|(key, value)| (key, value.clone())).collect()
}

/// Whether what another server sent is a stripped state event: clients rely on it.
fn is_stripped(event: &Object) -> bool {
    let texts = event.get_str("type").is_some() && event.get_str("state_key").is_some();
    let sender = event.get_str("sender").is_some_and(|sender| UserId::try_from(sender).is_ok());
    texts && sender && event.get_object("content").is_some()
}

/// A state event without what only members may know.
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
        let pdu = state.along(&member, "invite_room_state");
        let packed = plexus_store::pdu_json::pack(pdu.json()).unwrap();
        let json = plexus_store::pdu_json::unpack(&packed).unwrap();
        Pdu::from_stored(&json, pdu.event_id().clone(), RoomVersion::V11).unwrap()
    }

    #[test]
    fn only_the_fields_of_stripped_state_are_kept() {
        let state = StrippedState::all(&[topic(1), raw("7".to_owned()), raw("{}".to_owned())]).unwrap();
        let told = sent_along(&stored(state));
        assert_eq!(
            told.iter().map(Object::to_json).collect::<Vec<_>>(),
            [r#"{"content":{"topic":"x"},"sender":"@a:b","state_key":"","type":"m.room.topic"}"#]
        );
    }

    #[test]
    fn whatever_is_taken_can_be_read_again() {
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
            assert_eq!(sent_along(&stored(kept)).len(), wanted.unwrap_or(fit));
        }
    }
}
