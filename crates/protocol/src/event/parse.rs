//! Parsing JSON into a [`Pdu`] ([Size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits) and the
//! event format of each room version, such as
//! [that of version 12](https://spec.matrix.org/v1.19/rooms/v12/#event-format-1)).

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use super::{
    Inner, Pdu,
    format::{MAX_AUTH_EVENTS, MAX_FIELD, MAX_PDU, MAX_PREV_EVENTS, PduError},
    hash, sticky,
};
use crate::{
    id::{EventId, IdError, RoomId, UserId, check_event_id, is_reference_hash},
    json::{MAX_NESTING, Object, ParseError, Value, top_level, write_string},
    rules::{EventIdFormat, RoomVersion, RoomVersionRules},
};

/// How deep an event may nest. The bodies that carry events nest deeper and must be readable too: transactions, invites
/// with the room's state, responses to a join.
const MAX_EVENT_NESTING: usize = MAX_NESTING - 20;

pub(super) fn parse(json: &str, version: RoomVersion) -> Result<Pdu, PduError> {
    let (object, canonical) = Object::parse_with_form(json)?;
    if canonical { from_canonical(object, json.to_owned(), version) } else { from_object(object, version) }
}

pub(super) fn parse_remote(json: &str, version: RoomVersion) -> Result<Pdu, PduError> {
    let (mut object, canonical) = Object::parse_with_form(json)?;
    if canonical && !object.contains_key("unsigned") {
        return from_canonical(object, json.to_owned(), version);
    }
    let is_member = object.get_str("type") == Some("m.room.member");
    match object.get_mut("unsigned") {
        Some(Value::Object(unsigned)) if is_member => {
            unsigned.retain(|key, _| matches!(key, "invite_room_state" | "knock_room_state"));
            if unsigned.is_empty() {
                object.remove("unsigned");
            }
        }
        Some(_) => {
            object.remove("unsigned");
        }
        None => {}
    }
    from_object(object, version)
}

/// Checks everything and computes the id.
pub(super) fn from_object(object: Object, version: RoomVersion) -> Result<Pdu, PduError> {
    let json = object.to_json();
    from_canonical(object, json, version)
}

fn from_canonical(object: Object, json: String, version: RoomVersion) -> Result<Pdu, PduError> {
    let rules = version.rules();
    check_size(&json)?;
    if rules.strict_canonical_json {
        object.check_canonical()?;
    }
    let signable = hash::signable_text(&object, &json, rules)?;
    from_signable(object, json, &signable, version)
}

/// Finishes the checks of an event in canonical JSON whose signable text is known.
pub(super) fn from_signable(
    object: Object,
    json: String,
    signable: &str,
    version: RoomVersion,
) -> Result<Pdu, PduError> {
    let rules = version.rules();
    check_size(&json)?;
    check_field_lengths(&object, rules)?;
    if !rules.strict_canonical_json {
        object.check_finite()?;
    }
    if object.nests_deeper_than(MAX_EVENT_NESTING) {
        return Err(PduError::Json(ParseError::TooDeep));
    }
    let event_id = match rules.event_id_format {
        EventIdFormat::Server => {
            // `$opaque_id:domain` (https://spec.matrix.org/v1.19/appendices/#event-ids); without a domain it could be
            // the hash of an event of another version.
            let chosen: EventId = id(&object, "event_id")?;
            chosen.server_name().is_some().then_some(chosen).ok_or(PduError::EventIdFormat)?
        }
        format => hash::event_id(signable, format),
    };
    finish(object, json, event_id, version)
}

pub(super) fn from_stored(json: &str, event_id: EventId, version: RoomVersion) -> Result<Pdu, PduError> {
    finish(Object::parse(json)?, json.to_owned(), event_id, version)
}

fn finish(mut object: Object, json: String, event_id: EventId, version: RoomVersion) -> Result<Pdu, PduError> {
    let rules = version.rules();
    let event_type = take_string(&mut object, "type")?.ok_or(PduError::Missing("type"))?;
    let state_key = take_string(&mut object, "state_key")?;
    let room_id = room_id(&object, &event_type, state_key.as_deref(), &event_id, rules)?;
    let content = match object.remove("content") {
        Some(Value::Object(content)) => content,
        Some(_) => return Err(PduError::WrongType("content")),
        None => return Err(PduError::Missing("content")),
    };
    let unsigned = match object.remove("unsigned") {
        Some(Value::Object(unsigned)) => Some(unsigned),
        Some(_) => return Err(PduError::WrongType("unsigned")),
        None => None,
    };
    let redacts = redacts(&object, &content, &event_type, rules);
    check_references(&object, "prev_events", MAX_PREV_EVENTS, rules)?;
    check_references(&object, "auth_events", MAX_AUTH_EVENTS, rules)?;
    Ok(Pdu(Arc::new(Inner {
        version,
        sender: id::<UserId>(&object, "sender")?,
        room_id,
        event_id,
        state_key: state_key.map(Into::into),
        content,
        content_span: content_span(&json).ok_or(PduError::Missing("content"))?,
        origin_server_ts: timestamp(&object, rules)?,
        depth: unsigned_integer(&object, "depth")?,
        prev_events: OnceLock::new(),
        auth_events: OnceLock::new(),
        redacts,
        sticky_duration_ms: sticky::duration_ms(&object),
        unsigned,
        event_type: event_type.into(),
        json: json.into(),
    })))
}

/// Returns the range of the value of `content` in canonical JSON.
pub(super) fn content_span(json: &str) -> Option<Range<usize>> {
    let mut at = 1;
    for field in top_level(json) {
        let end = at + field.member.len();
        if field.key == "content" {
            return Some(end - field.value.len()..end);
        }
        at = end + 1;
    }
    None
}

/// Returns canonical JSON with the member `key` set, replaced or removed.
pub(super) fn replace_member(json: &str, key: &str, value: Option<&str>) -> String {
    let mut out = String::with_capacity(json.len() + value.map_or(0, |v| v.len() + key.len() + 4));
    let mut pending = value;
    let mut push = |member: &dyn Fn(&mut String)| {
        out.push(if out.is_empty() { '{' } else { ',' });
        member(&mut out);
    };
    let new_member = |value: &str, out: &mut String| {
        write_string(key, out);
        out.push(':');
        out.push_str(value);
    };
    for field in top_level(json) {
        if field.key >= key
            && let Some(value) = pending.take()
        {
            push(&|out| new_member(value, out));
        }
        if field.key != key {
            push(&|out| out.push_str(field.member));
        }
    }
    if let Some(value) = pending {
        push(&|out| new_member(value, out));
    }
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
    out
}

pub(super) fn check_size(json: &str) -> Result<(), PduError> {
    if json.len() > MAX_PDU { Err(PduError::TooLarge(json.len())) } else { Ok(()) }
}

fn check_field_lengths(object: &Object, rules: &RoomVersionRules) -> Result<(), PduError> {
    for key in ["type", "state_key", "sender", "room_id", "event_id"] {
        let length = |text: &str| if rules.strict_byte_limits { text.len() } else { text.chars().count() };
        if object.get_str(key).is_some_and(|text| length(text) > MAX_FIELD) {
            return Err(PduError::FieldTooLong(key));
        }
    }
    Ok(())
}

fn take_string(object: &mut Object, key: &'static str) -> Result<Option<String>, PduError> {
    match object.remove(key) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(PduError::WrongType(key)),
        None => Ok(None),
    }
}

fn id<T: for<'a> TryFrom<&'a str, Error = IdError>>(object: &Object, key: &'static str) -> Result<T, PduError> {
    match object.get(key) {
        Some(Value::String(text)) => T::try_from(text).map_err(|e| PduError::InvalidId(key, e)),
        Some(_) => Err(PduError::WrongType(key)),
        None => Err(PduError::Missing(key)),
    }
}

fn room_id(
    object: &Object,
    event_type: &str,
    state_key: Option<&str>,
    event_id: &EventId,
    rules: &RoomVersionRules,
) -> Result<RoomId, PduError> {
    if !rules.create_event_is_room_id {
        let room_id: RoomId = id(object, "room_id")?;
        return room_id.server_name().is_some().then_some(room_id).ok_or(PduError::RoomIdFormat);
    }
    if event_type == "m.room.create" && state_key == Some("") {
        return if object.contains_key("room_id") {
            Err(PduError::RoomIdFormat)
        } else {
            Ok(RoomId::from_create_event(event_id))
        };
    }
    let room_id: RoomId = id(object, "room_id")?;
    let hash = room_id.as_str().get(1..).unwrap_or_default();
    is_reference_hash(hash).then_some(room_id).ok_or(PduError::RoomIdFormat)
}

fn redacts(object: &Object, content: &Object, event_type: &str, rules: &RoomVersionRules) -> Option<EventId> {
    let source = if rules.redaction.redacts_in_content { content } else { object };
    (event_type == "m.room.redaction").then(|| source.get_str("redacts")?.parse().ok()).flatten()
}

fn unsigned_integer(object: &Object, key: &'static str) -> Result<u64, PduError> {
    let value = object.get(key).ok_or(PduError::Missing(key))?;
    value.as_u64().filter(|n| i64::try_from(*n).is_ok()).ok_or(PduError::WrongType(key))
}

/// Early servers wrote timestamps as floats, which room versions 1 to 5 accept.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
fn timestamp(object: &Object, rules: &RoomVersionRules) -> Result<u64, PduError> {
    const KEY: &str = "origin_server_ts";
    match object.get(KEY) {
        Some(Value::Number(number)) if !rules.strict_canonical_json && !number.is_integer() => {
            let float = number.as_f64();
            (0.0..9e15).contains(&float).then_some(float as u64).ok_or(PduError::WrongType(KEY))
        }
        _ => unsigned_integer(object, KEY),
    }
}

fn check_references(object: &Object, key: &'static str, most: usize, rules: &RoomVersionRules) -> Result<(), PduError> {
    let value = object.get(key).ok_or(PduError::Missing(key))?;
    let entries = value.as_array().ok_or(PduError::WrongType(key))?;
    if entries.len() > most {
        return Err(PduError::TooManyReferences(key, entries.len()));
    }
    for entry in entries {
        let id = reference(entry, rules).ok_or(PduError::WrongType(key))?;
        check_event_id(id).map_err(|e| PduError::InvalidId(key, e))?;
    }
    Ok(())
}

/// Returns the event id of an entry of `prev_events` or `auth_events`: the entry itself, or the first element of an
/// `[id, hashes]` pair in room versions 1 and 2.
fn reference<'a>(entry: &'a Value, rules: &RoomVersionRules) -> Option<&'a str> {
    match (rules.event_id_format, entry) {
        (EventIdFormat::Server, Value::Array(pair)) if pair.len() == 2 => pair.first().and_then(Value::as_str),
        (EventIdFormat::Server, _) => None,
        (_, entry) => entry.as_str(),
    }
}

/// Returns the ids in `prev_events` or `auth_events`, which were checked when the event was parsed.
pub(super) fn references(pdu: &Pdu, key: &str) -> Box<[EventId]> {
    let value = pdu.member_json(key).and_then(|json| Value::parse(json).ok());
    let entries = value.as_ref().and_then(Value::as_array).unwrap_or_default();
    entries.iter().filter_map(|entry| reference(entry, pdu.rules())?.parse().ok()).collect()
}
