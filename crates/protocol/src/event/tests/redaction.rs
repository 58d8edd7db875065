//! Which members redaction keeps, per event type and room version
//! ([Redactions](https://spec.matrix.org/v1.19/rooms/v11/#redactions)).

use super::*;

/// Event type, key of its content, first and last version in which redaction keeps the key.
const CONTENT: &[(&str, &str, RoomVersion, RoomVersion)] = &[
    ("m.room.member", "membership", V1, V12),
    ("m.room.member", "join_authorised_via_users_server", V9, V12),
    ("m.room.create", "creator", V1, V12),
    ("m.room.create", "room_version", V11, V12),
    ("m.room.create", "m.federate", V11, V12),
    ("m.room.create", "anything", V11, V12),
    ("m.room.join_rules", "join_rule", V1, V12),
    ("m.room.join_rules", "allow", V8, V12),
    ("m.room.power_levels", "ban", V1, V12),
    ("m.room.power_levels", "events", V1, V12),
    ("m.room.power_levels", "events_default", V1, V12),
    ("m.room.power_levels", "invite", V11, V12),
    ("m.room.power_levels", "kick", V1, V12),
    ("m.room.power_levels", "redact", V1, V12),
    ("m.room.power_levels", "state_default", V1, V12),
    ("m.room.power_levels", "users", V1, V12),
    ("m.room.power_levels", "users_default", V1, V12),
    ("m.room.aliases", "aliases", V1, V5),
    ("m.room.history_visibility", "history_visibility", V1, V12),
    ("m.room.redaction", "redacts", V11, V12),
];

/// Keys that redaction never keeps, for the types above and others.
const NEVER: &[(&str, &str)] = &[
    ("m.room.member", "displayname"),
    ("m.room.member", "reason"),
    ("m.room.join_rules", "creator"),
    ("m.room.power_levels", "notifications"),
    ("m.room.history_visibility", "membership"),
    ("m.room.redaction", "reason"),
    ("m.room.message", "body"),
    ("m.room.message", "membership"),
    ("m.room.canonical_alias", "aliases"),
    ("m.room.third_party_invite", "public_key"),
    ("m.room.server_acl", "allow"),
    ("org.example.custom", "redacts"),
];

const TOP_LEVEL: &[(&str, RoomVersion, RoomVersion)] = &[
    ("auth_events", V1, V12),
    ("depth", V1, V12),
    ("hashes", V1, V12),
    ("origin_server_ts", V1, V12),
    ("prev_events", V1, V12),
    ("room_id", V1, V12),
    ("sender", V1, V12),
    ("signatures", V1, V12),
    ("state_key", V1, V12),
    ("type", V1, V12),
    ("origin", V1, V10),
    ("membership", V1, V10),
    ("prev_state", V1, V10),
];

fn event(version: RoomVersion, event_type: &str, content: Value) -> Object {
    let mut object = build(version, "m.room.message", Some("x"), "{}").json().to_owned();
    for (key, value) in [
        ("type", format!("\"{event_type}\"").as_str()),
        ("content", content.to_json().as_str()),
        ("origin", "\"a.org\""),
        ("membership", "\"join\""),
        ("prev_state", "[]"),
        ("redacts", "\"$x:y\""),
        ("unsigned", "{\"age\":1}"),
        ("unknown", "1"),
    ] {
        object = parse::replace_member(&object, key, Some(value));
    }
    Object::parse(&object).unwrap()
}

#[test]
fn content_keys() {
    for version in RoomVersion::ALL {
        let kept = |event_type: &str, key: &str| {
            let content = Object::from([(key, Value::from("v")), ("zz_other", 1.into())]);
            let redacted = redact_object(&event(version, event_type, content.into()), version.rules());
            let content = redacted.get_object("content").unwrap();
            assert_eq!(content.get("zz_other").is_some(), event_type == "m.room.create" && version >= V11);
            content.get_str(key) == Some("v")
        };
        for (event_type, key, first, last) in CONTENT {
            assert_eq!(kept(event_type, key), (*first..=*last).contains(&version), "{event_type} {key} in {version}");
        }
        for (event_type, key) in NEVER {
            assert!(!kept(event_type, key), "{event_type} {key} in {version}");
        }
    }
}

#[test]
fn third_party_invites() {
    for (invite, expected) in [
        (r#"{"display_name":"x","signed":{"token":"t"}}"#, r#"{"third_party_invite":{"signed":{"token":"t"}}}"#),
        (r#"{"display_name":"x"}"#, r#"{"third_party_invite":{}}"#),
        (r#"{"signed":1}"#, r#"{"third_party_invite":{"signed":1}}"#),
        ("7", "{}"),
    ] {
        let content = Object::from([("third_party_invite", Value::parse(invite).unwrap())]);
        for version in RoomVersion::ALL {
            let redacted = redact_object(&event(version, "m.room.member", content.clone().into()), version.rules());
            let expected = if version >= V11 { expected } else { "{}" };
            assert_eq!(redacted.get_object("content").unwrap().to_json(), expected, "{invite} in {version}");
        }
    }
}

#[test]
fn top_level_keys() {
    for version in RoomVersion::ALL {
        let original = event(version, "m.room.redaction", Object::from([("a", 1)]).into());
        let redacted = redact_object(&original, version.rules());
        for (key, first, last) in TOP_LEVEL {
            assert!(original.contains_key(key), "{key}");
            let expected = original.get(key).filter(|_| (*first..=*last).contains(&version));
            assert_eq!(redacted.get(key), expected, "{key} in {version}");
        }
        for key in ["unsigned", "unknown", "redacts"] {
            assert!(original.contains_key(key) && !redacted.contains_key(key), "{key} in {version}");
        }
        let pdu = Pdu::parse(&original.to_json(), version).unwrap();
        assert_eq!(redact(&pdu).json(), redacted.to_json());
        assert_eq!(redact(&redact(&pdu)), redact(&pdu));
        assert_eq!(redact(&pdu).event_id(), pdu.event_id());
        assert_eq!(redact(&pdu).unsigned(), None);
        assert_eq!(Pdu::parse(redact(&pdu).json(), version), Ok(redact(&pdu)), "{version}");
    }
}
