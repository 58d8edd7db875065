//! What describes a room to somebody who is not in it (client-server API, "Stripped state").

use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::json::{self, Object, Value};
use plexus_store::DbError;

use crate::room::Room;

/// The state, all with an empty state key, that describes a room.
pub(crate) const DESCRIBING: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// The stripped state (JSON objects) of a room this server is in, with the member event of `sender` if they are a member; of a
/// room on other servers what came along with `membership`, the invite or knock.
pub async fn describe(room: &Room, membership: &Pdu, sender: Option<&UserId>) -> Result<Vec<String>, DbError> {
    let view = room.view();
    if view.state.get("m.room.create", "").is_none() {
        return Ok(sent_along(membership));
    }
    let mut events = Vec::new();
    for event_type in DESCRIBING {
        if let Some(entry) = view.state.get(event_type, "") {
            events.push(stripped(&room.state_event(entry).await?.pdu));
        }
    }
    if let Some(entry) = sender.and_then(|sender| view.state.get("m.room.member", sender.as_str())) {
        events.push(stripped(&room.state_event(entry).await?.pdu));
    }
    Ok(events)
}

/// What the other server sent along with an invite or knock: whole events, or stripped already.
fn sent_along(pdu: &Pdu) -> Vec<String> {
    let state = |name| pdu.unsigned().and_then(|unsigned| unsigned.get(name)).and_then(Value::as_array);
    let state = state("invite_room_state").or_else(|| state("knock_room_state"));
    let kept = |(key, _): &(&str, &Value)| matches!(*key, "content" | "sender" | "state_key" | "type");
    let strip = |event: &Object| event.iter().filter(kept).map(|(key, value)| (key, value.clone())).collect::<Object>();
    state.into_iter().flatten().filter_map(Value::as_object).map(|event| strip(event).to_json()).collect()
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
