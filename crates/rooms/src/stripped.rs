//! What describes a room to somebody who is not in it (client-server API, "Stripped state").

use std::collections::HashSet;
use std::sync::Arc;

use plexus_base::config::PrejoinStateEntry;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::json::{self, Object, Value};
use plexus_store::DbError;

use crate::registry::Rooms;
use crate::room::{Room, RoomView};
use crate::state_map::StateEntry;

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
            return Ok(sent_along(membership));
        }
        let mut told = HashSet::new();
        let mut events = Vec::new();
        for entry in self.describing(&view, sender) {
            if !told.insert(entry.nid) {
                continue;
            }
            let event = room.state_event(entry).await?;
            if event.pdu.event_id() != membership.event_id() {
                events.push(stripped(&event.pdu));
            }
        }
        Ok(events)
    }

    /// The state that describes a room, with the member event of `sender` if they have one. An event may be there twice.
    pub(crate) fn describing<'a>(&'a self, view: &'a RoomView, sender: Option<&UserId>) -> Vec<&'a Arc<StateEntry>> {
        let mut entries = Vec::from_iter(view.state.get("m.room.create", ""));
        for shown in &self.describing {
            match &shown.state_key {
                Some(state_key) => entries.extend(view.state.get(&shown.event_type, state_key)),
                None => entries.extend(view.state.of_type(&shown.event_type)),
            }
        }
        entries.extend(sender.and_then(|sender| view.state.get("m.room.member", sender.as_str())));
        entries
    }
}

/// What the other server sent along with an invite or knock: whole events, or stripped already.
fn sent_along(pdu: &Pdu) -> Vec<String> {
    let state = |name| pdu.unsigned().and_then(|unsigned| unsigned.get(name)).and_then(Value::as_array);
    let state = state("invite_room_state").or_else(|| state("knock_room_state"));
    let kept = |(key, _): &(&str, &Value)| matches!(*key, "content" | "sender" | "state_key" | "type");
    let strip = |event: &Object| event.iter().filter(kept).map(|(key, value)| (key, value.clone())).collect::<Object>();
    let state = state.into_iter().flatten().filter_map(Value::as_object).filter(|event| is_stripped(event));
    state.map(|event| strip(event).to_json()).collect()
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
