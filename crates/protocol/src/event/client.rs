//! Events as clients see them (client-server API, "Room event format", "Stripped state").

use super::Pdu;
use crate::json::write_string;

/// `{content,event_id,origin_server_ts,sender,state_key?,type,redacts?}`: the client format without `room_id` and
/// `unsigned`, which depend on where and to whom the event is shown. `redacts` stands at the top level in every room
/// version and in `content` as well, for clients of either kind (client-server API, `m.room.redaction`).
pub fn client_json(pdu: &Pdu) -> String {
    let mut out = String::with_capacity(pdu.content_json().len() + 256);
    open_client_json(pdu, &mut out);
    out.push('}');
    out
}

/// Appends [`client_json`] without the closing brace, so that more members can follow.
pub fn open_client_json(pdu: &Pdu, out: &mut String) {
    match (pdu.redacts(), pdu.content().contains_key("redacts")) {
        (Some(redacts), false) => {
            let mut content = pdu.content().clone();
            content.insert("redacts", redacts.as_str());
            member(out, "{", "content", &content.to_json());
        }
        _ => member(out, "{", "content", pdu.content_json()),
    }
    string(out, ",", "event_id", pdu.event_id().as_str());
    member(out, ",", "origin_server_ts", &pdu.origin_server_ts().to_string());
    if let Some(redacts) = pdu.redacts() {
        string(out, ",", "redacts", redacts.as_str());
    }
    string(out, ",", "sender", pdu.sender().as_str());
    if let Some(state_key) = pdu.state_key() {
        string(out, ",", "state_key", state_key);
    }
    string(out, ",", "type", pdu.event_type());
}

/// `{content,sender,state_key,type}`: what invited and knocking users see of a room's state.
pub fn stripped_json(pdu: &Pdu) -> String {
    let mut out = String::with_capacity(pdu.content_json().len() + 128);
    member(&mut out, "{", "content", pdu.content_json());
    string(&mut out, ",", "sender", pdu.sender().as_str());
    string(&mut out, ",", "state_key", pdu.state_key().unwrap_or_default());
    string(&mut out, ",", "type", pdu.event_type());
    out.push('}');
    out
}

/// `client` (from [`client_json`]) with more members in front, each given as key and JSON text: `room_id`, `unsigned`.
pub fn with_members(client: &str, members: &[(&str, &str)]) -> String {
    let length: usize = members.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
    let mut out = String::with_capacity(client.len() + length);
    let mut separator = "{";
    for (key, value) in members {
        member(&mut out, separator, key, value);
        separator = ",";
    }
    match client.strip_prefix('{') {
        Some("}") if separator == "," => out.push('}'),
        Some(rest) => {
            out.push_str(separator);
            out.push_str(rest);
        }
        None => out.push_str(client),
    }
    out
}

fn member(out: &mut String, separator: &str, key: &str, value: &str) {
    out.push_str(separator);
    write_string(key, out);
    out.push(':');
    out.push_str(value);
}

fn string(out: &mut String, separator: &str, key: &str, value: &str) {
    out.push_str(separator);
    write_string(key, out);
    out.push(':');
    write_string(value, out);
}
