//! [Redaction](https://spec.matrix.org/v1.19/rooms/v11/#redactions): removing from an event everything that the
//! protocol does not need.
//!
//! The event id and signatures cover the redacted form, so redaction changes neither.

use std::sync::Arc;

use super::{Inner, Pdu};
use crate::{
    id::EventId,
    json::{Field, Object, Value},
    rules::{RedactionRules, RoomVersionRules},
};

/// Returns the redacted event, without `unsigned`. Idempotent.
pub fn redact(pdu: &Pdu) -> Pdu {
    let rules = pdu.rules();
    let content = redacted_content(pdu.event_type(), pdu.content(), &rules.redaction);
    let mut json = String::with_capacity(pdu.json().len());
    join_members(&mut json, pdu.fields().filter(|f| keeps_top_level(f.key, &rules.redaction)), &content.to_json());
    let redacts = pdu.redacts().filter(|_| content.contains_key("redacts")).cloned();
    Pdu(Arc::new(Inner { unsigned: None, redacts, sticky_duration_ms: None, ..pdu.0.with_json(json, content) }))
}

/// Whether events of this type redact others, with or without a state key
/// ([Handling redactions](https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions)).
pub fn is_redaction(event_type: &str) -> bool {
    event_type == "m.room.redaction"
}

/// Returns the event that a redaction redacts.
pub fn redaction_target(pdu: &Pdu) -> Option<&EventId> {
    pdu.redacts().filter(|_| is_redaction(pdu.event_type()))
}

/// Redacts an event object that is not (yet) a [`Pdu`].
pub fn redact_object(object: &Object, rules: &RoomVersionRules) -> Object {
    let event_type = object.get_str("type").unwrap_or_default();
    let empty = Object::new();
    let content = object.get_object("content").unwrap_or(&empty);
    let content = redacted_content(event_type, content, &rules.redaction);
    let kept = object.iter().filter(|(key, _)| keeps_top_level(key, &rules.redaction));
    let mut redacted: Object = kept.filter(|(key, _)| *key != "content").map(|(k, v)| (k, v.clone())).collect();
    redacted.insert("content", content);
    redacted
}

/// Writes members as an object, with `content` as the value of that member.
pub(super) fn join_members<'a>(out: &mut String, fields: impl Iterator<Item = Field<'a>>, content: &str) {
    out.push('{');
    for (i, field) in fields.enumerate() {
        if i > 0 {
            out.push(',');
        }
        match field.key {
            "content" => {
                out.push_str("\"content\":");
                out.push_str(content);
            }
            _ => out.push_str(field.member),
        }
    }
    out.push('}');
}

/// Whether redaction keeps the top-level `key`.
pub(super) fn keeps_top_level(key: &str, rules: &RedactionRules) -> bool {
    match key {
        "event_id" | "type" | "room_id" | "sender" | "state_key" | "content" | "hashes" | "signatures" | "depth"
        | "prev_events" | "auth_events" | "origin_server_ts" => true,
        "prev_state" | "origin" | "membership" => rules.keep_obsolete_top_level,
        _ => false,
    }
}

/// Returns the content of an event of `event_type` after redaction.
pub fn redacted_content(event_type: &str, content: &Object, rules: &RedactionRules) -> Object {
    match event_type {
        "m.room.member" => redacted_member(content, rules),
        "m.room.create" if rules.keep_create_content => content.clone(),
        "m.room.create" => pick(content, |key| key == "creator"),
        "m.room.join_rules" => {
            pick(content, |key| key == "join_rule" || (key == "allow" && rules.keep_join_rules_allow))
        }
        "m.room.power_levels" => pick(content, |key| match key {
            "ban" | "events" | "events_default" | "kick" | "redact" | "state_default" | "users" | "users_default" => {
                true
            }
            "invite" => rules.keep_power_levels_invite,
            _ => false,
        }),
        "m.room.aliases" if rules.keep_aliases => pick(content, |key| key == "aliases"),
        "m.room.history_visibility" => pick(content, |key| key == "history_visibility"),
        "m.room.redaction" if rules.keep_redaction_redacts => pick(content, |key| key == "redacts"),
        _ => Object::new(),
    }
}

fn redacted_member(content: &Object, rules: &RedactionRules) -> Object {
    let mut kept = pick(content, |key| {
        key == "membership" || (key == "join_authorised_via_users_server" && rules.keep_member_authorised_via)
    });
    if rules.keep_member_third_party_signed
        && let Some(invite) = content.get_object("third_party_invite")
    {
        kept.insert("third_party_invite", Value::Object(pick(invite, |key| key == "signed")));
    }
    kept
}

fn pick(object: &Object, keep: impl Fn(&str) -> bool) -> Object {
    object.iter().filter(|(key, _)| keep(key)).map(|(key, value)| (key, value.clone())).collect()
}
