//! Events in the formats of the client-server API
//! ([Room event format](https://spec.matrix.org/v1.19/client-server-api/#room-event-format),
//! [Stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state)).

use super::{Pdu, sticky};
use crate::json::ObjectWriter;

/// Returns `{content,event_id,msc4354_sticky?,origin_server_ts,sender,state_key?,type,redacts?}`: the client format
/// without `room_id` and `unsigned`, which depend on the endpoint and the reader. In every room version `redacts` is
/// both at the top level and in `content`, for old and new clients
/// ([`m.room.redaction`](https://spec.matrix.org/v1.19/client-server-api/#mroomredaction)).
pub fn client_json(pdu: &Pdu) -> String {
    let mut out = String::with_capacity(pdu.content_json().len() + 256);
    open_client_json(pdu, &mut out);
    out.push('}');
    out
}

/// Appends [`client_json`] without the closing brace, so that more members can follow.
pub fn open_client_json(pdu: &Pdu, out: &mut String) {
    let mut event = ObjectWriter::open(out);
    match (pdu.redacts(), pdu.content().contains_key("redacts")) {
        (Some(redacts), false) => {
            let mut content = pdu.content().clone();
            content.insert("redacts", redacts.as_str());
            event.raw("content", &content.to_json());
        }
        _ => event.raw("content", pdu.content_json()),
    }
    event.string("event_id", pdu.event_id().as_str());
    if let Some(duration_ms) = pdu.sticky_duration_ms() {
        event.raw(sticky::MEMBER, &sticky::member(duration_ms).to_json());
    }
    event.number("origin_server_ts", pdu.origin_server_ts());
    if let Some(redacts) = pdu.redacts() {
        event.string("redacts", redacts.as_str());
    }
    event.string("sender", pdu.sender().as_str());
    if let Some(state_key) = pdu.state_key() {
        event.string("state_key", state_key);
    }
    event.string("type", pdu.event_type());
}

/// Returns `{content,sender,state_key,type}`: the format in which invited and knocking users see a room's state.
pub fn stripped_json(pdu: &Pdu) -> String {
    let mut out = String::with_capacity(pdu.content_json().len() + 128);
    let mut event = ObjectWriter::open(&mut out);
    event.raw("content", pdu.content_json());
    event.string("sender", pdu.sender().as_str());
    event.string("state_key", pdu.state_key().unwrap_or_default());
    event.string("type", pdu.event_type());
    event.close();
    out
}

/// Returns `{content,type}`: the form of account data and ephemeral events.
pub fn basic_event_json(event_type: &str, content: &str) -> String {
    let mut out = String::with_capacity(event_type.len() + content.len() + 24);
    let mut event = ObjectWriter::open(&mut out);
    event.raw("content", content);
    event.string("type", event_type);
    event.close();
    out
}

/// Returns `client` (from [`client_json`]) with more members in front, such as `room_id` and `unsigned`, each given as
/// key and JSON text.
pub fn with_members(client: &str, members: &[(&str, &str)]) -> String {
    let length: usize = members.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
    let mut out = String::with_capacity(client.len() + length);
    let mut object = ObjectWriter::open(&mut out);
    for (key, value) in members {
        object.raw(key, value);
    }
    let rest = client.strip_prefix('{').unwrap_or(client);
    if !members.is_empty() && rest != "}" {
        out.push(',');
    }
    out.push_str(rest);
    out
}
