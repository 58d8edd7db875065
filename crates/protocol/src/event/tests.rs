mod redaction;

use base64::Engine;

use super::{
    auth_types::auth_event_keys,
    build::{BuildError, PduBuilder, finish},
    client::{client_json, stripped_json, with_members},
    redact::{redact, redact_object},
    sign::SigningKey,
    *,
};
use crate::{json::Value, rules::RoomVersion::*};

const HASH: &str = "31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";

fn key() -> SigningKey {
    SigningKey::generate(&[1; 32], "k")
}

fn builder(version: RoomVersion, event_type: &str, state_key: Option<&str>, content: &str) -> PduBuilder {
    let room_id = match (version, event_type) {
        (V12, "m.room.create") => None,
        (V12, _) => Some(format!("!{HASH}")),
        _ => Some("!r:a.org".to_owned()),
    };
    PduBuilder {
        room_id: room_id.map(|id| id.parse().unwrap()),
        sender: "@alice:a.org".parse().unwrap(),
        event_type: event_type.to_owned(),
        state_key: state_key.map(str::to_owned),
        content: Object::parse(content).unwrap(),
        unsigned: None,
        redacts: None,
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: 1_000_000,
    }
}

fn build(version: RoomVersion, event_type: &str, state_key: Option<&str>, content: &str) -> Pdu {
    let built = builder(version, event_type, state_key, content).build(version, &key(), &"a.org".parse().unwrap());
    built.unwrap_or_else(|e| panic!("{version}: {e}"))
}

/// A message of `version` with one member replaced, or removed if `value` is empty.
fn altered(version: RoomVersion, member: &str, value: &str) -> Result<Pdu, PduError> {
    let pdu = build(version, "m.room.message", None, r#"{"body":"hi"}"#);
    let value = Some(value).filter(|v| !v.is_empty());
    Pdu::parse(&parse::replace_member(pdu.json(), member, value), version)
}

#[test]
fn accessors() {
    let mut event = builder(V11, "m.room.topic", Some(""), r#"{"topic":"\u0041"}"#);
    event.prev_events = vec![format!("${HASH}").parse().unwrap()];
    event.auth_events = vec!["$b".parse().unwrap(), "$a".parse().unwrap()];
    event.unsigned = Some(Object::from([("age", 1)]));
    event.depth = 12;
    let pdu = event.build(V11, &key(), &"a.org".parse().unwrap()).unwrap();
    assert_eq!(pdu.room_id().as_str(), "!r:a.org");
    assert_eq!(pdu.sender().as_str(), "@alice:a.org");
    assert!(pdu.is_state("m.room.topic", "") && !pdu.is_state("m.room.topic", "x"));
    assert_eq!(pdu.content_json(), r#"{"topic":"A"}"#);
    assert_eq!(pdu.content().get_str("topic"), Some("A"));
    assert_eq!((pdu.depth(), pdu.origin_server_ts()), (12, 1_000_000));
    assert_eq!(pdu.prev_events(), [format!("${HASH}").as_str()]);
    assert_eq!(pdu.auth_events(), ["$b", "$a"]);
    assert_eq!(pdu.unsigned().unwrap().get_i64("age"), Some(1));
    assert_eq!(pdu.room_version(), V11);
    assert!(!pdu.json().contains("event_id"));
    assert_eq!(Pdu::parse(pdu.json(), V11), Ok(pdu.clone()));
    assert_eq!(Pdu::from_stored(pdu.json(), pdu.event_id().clone(), V11), Ok(pdu.clone()));
    let without = pdu.with_unsigned(None);
    assert_eq!((without.unsigned(), without.event_id()), (None, pdu.event_id()));
    assert_eq!(Pdu::parse(without.json(), V11), Ok(without.clone()));
    assert_eq!(without.with_unsigned(Some(Object::from([("age", 1)]))), pdu);
}

#[test]
fn event_ids_by_format() {
    for version in RoomVersion::ALL {
        let pdu = build(version, "m.room.message", None, "{}");
        let hash = pdu.reference_hash();
        let expected = match version {
            V1 | V2 => {
                assert_eq!(pdu.event_id().server_name(), Some("a.org"));
                assert_eq!(pdu.member_json("event_id"), Some(format!("\"{}\"", pdu.event_id()).as_str()));
                continue;
            }
            V3 => base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash),
            _ => base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash),
        };
        assert_eq!(pdu.event_id().as_str(), format!("${expected}"), "{version}");
    }
}

#[test]
fn the_id_covers_what_redaction_keeps() {
    let base = altered(V11, "x", "1").unwrap();
    assert_eq!(altered(V11, "x", "2").unwrap().event_id(), base.event_id());
    assert_eq!(altered(V11, "unsigned", "{\"a\":1}").unwrap().event_id(), base.event_id());
    assert_eq!(altered(V11, "signatures", "{}").unwrap().event_id(), base.event_id());
    assert_eq!(altered(V11, "content", "{\"body\":\"other\"}").unwrap().event_id(), base.event_id());
    assert_eq!(altered(V11, "origin", "\"a.org\"").unwrap().event_id(), base.event_id());
    for (member, value) in [
        ("depth", "2"),
        ("hashes", "{}"),
        ("origin_server_ts", "2"),
        ("sender", "\"@b:a.org\""),
        ("type", "\"y\""),
        ("state_key", "\"\""),
    ] {
        assert_ne!(altered(V11, member, value).unwrap().event_id(), base.event_id(), "{member}");
    }
    assert_ne!(altered(V10, "origin", "\"a.org\"").unwrap().event_id(), altered(V10, "x", "1").unwrap().event_id());
}

#[test]
fn version_12_rooms_are_named_by_their_create_event() {
    let create = build(V12, "m.room.create", Some(""), r#"{"room_version":"12"}"#);
    assert_eq!(create.member_json("room_id"), None);
    assert_eq!(create.room_id().as_str()[1..], create.event_id().as_str()[1..]);
    assert_eq!(create.room_id().create_event_id().as_ref(), Some(create.event_id()));
    let mut with_room = builder(V12, "m.room.create", Some(""), "{}");
    with_room.room_id = Some(format!("!{HASH}").parse().unwrap());
    let error = with_room.build(V12, &key(), &"a.org".parse().unwrap()).unwrap_err();
    assert_eq!(error, BuildError::Pdu(PduError::RoomIdFormat));
    assert_eq!(altered(V12, "room_id", "\"!r:a.org\""), Err(PduError::RoomIdFormat));
    assert_eq!(altered(V12, "room_id", ""), Err(PduError::Missing("room_id")));
    assert_eq!(altered(V11, "room_id", &format!("\"!{HASH}\"")), Err(PduError::RoomIdFormat));
    // Only the state event creates a room.
    assert_eq!(altered(V12, "type", "\"m.room.create\"").unwrap().room_id().as_str(), format!("!{HASH}"));
}

#[test]
fn shape() {
    use PduError::{FieldTooLong, InvalidId, Missing, TooManyReferences, WrongType};
    for version in RoomVersion::ALL {
        for member in ["type", "sender", "content", "depth", "origin_server_ts", "prev_events", "auth_events"] {
            assert_eq!(altered(version, member, ""), Err(Missing(member)), "{version}");
            assert_eq!(altered(version, member, "null"), Err(WrongType(member)), "{version}");
        }
        assert_eq!(altered(version, "state_key", "1"), Err(WrongType("state_key")));
        assert_eq!(altered(version, "unsigned", "[]"), Err(WrongType("unsigned")));
        assert_eq!(altered(version, "depth", "-1"), Err(WrongType("depth")));
        assert!(altered(version, "depth", "-0").is_ok_and(|pdu| pdu.depth() == 0));
        assert!(altered(version, "hashes", "").is_ok_and(|pdu| !pdu.content_hash_matches()));
        assert!(matches!(altered(version, "sender", "\"alice\""), Err(InvalidId("sender", _))));
        let id = if matches!(version, V1 | V2) { "[\"$a:b\",{}]" } else { "\"$a\"" };
        let ids = |count| format!("[{}]", vec![id; count].join(","));
        assert_eq!(altered(version, "prev_events", &ids(20)).unwrap().prev_events().len(), 20);
        assert_eq!(altered(version, "prev_events", &ids(21)), Err(TooManyReferences("prev_events", 21)));
        assert!(altered(version, "auth_events", &ids(10)).is_ok());
        assert_eq!(altered(version, "auth_events", &ids(11)), Err(TooManyReferences("auth_events", 11)));
        let other = if matches!(version, V1 | V2) { "[\"$a\"]" } else { "[[\"$a:b\",{}]]" };
        assert_eq!(altered(version, "auth_events", other), Err(WrongType("auth_events")));
        assert_eq!(altered(version, "type", &format!("\"{}\"", "t".repeat(256))), Err(FieldTooLong("type")));
        assert!(altered(version, "type", &format!("\"{}\"", "t".repeat(255))).is_ok());
    }
    assert_eq!(altered(V1, "event_id", ""), Err(Missing("event_id")));
    assert!(matches!(altered(V1, "event_id", "\"x\""), Err(InvalidId("event_id", _))));
    // It could be the hash of an event of another version.
    let hash = "\"$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk\"";
    assert_eq!(altered(V1, "event_id", hash), Err(PduError::EventIdFormat));
    assert!(matches!(Pdu::parse("[]", V11), Err(PduError::Json(_))));
    assert_eq!(Pdu::parse("{}", V11), Err(Missing("type")));
}

/// Fields were limited in characters before they were limited in bytes: an event between the limits parses but is
/// rejected, and none is created.
#[test]
fn fields_have_255_bytes() {
    use crate::auth::{AuthRejection, check_state_independent};
    for version in RoomVersion::ALL {
        for field in ["type", "state_key"] {
            let of = |characters: usize| altered(version, field, &format!("\"{}\"", "é".repeat(characters)));
            let check = |pdu: &Pdu| check_state_independent(version.rules(), pdu, &|_| None);
            let fits = of(127).unwrap();
            assert_ne!(check(&fits), Err(AuthRejection::FieldTooLong(field)), "{version}");
            assert_eq!(of(256), Err(PduError::FieldTooLong(field)), "{version}");
            if version >= V11 {
                assert_eq!(of(128), Err(PduError::FieldTooLong(field)), "{version}");
            } else {
                assert_eq!(check(&of(128).unwrap()), Err(AuthRejection::FieldTooLong(field)), "{version}");
                assert_eq!(check(&of(255).unwrap()), Err(AuthRejection::FieldTooLong(field)), "{version}");
            }
            let mut event = builder(version, "m.room.topic", Some(""), "{}");
            match field {
                "type" => event.event_type = "é".repeat(128),
                _ => event.state_key = Some("é".repeat(128)),
            }
            let made = event.build(version, &key(), &"a.org".parse().unwrap());
            assert_eq!(made, Err(BuildError::Pdu(PduError::FieldTooLong(field))), "{version}");
        }
        // Identifiers: server names are ASCII, so only a local part could have more bytes than characters.
        let sender = format!("\"@{}:a.org\"", "é".repeat(125));
        let too_long = altered(version, "sender", &sender);
        assert!(
            matches!(too_long, Err(PduError::InvalidId("sender", _) | PduError::FieldTooLong("sender"))),
            "{version}"
        );
    }
}

#[test]
fn the_whole_event_has_64_kib() {
    for version in RoomVersion::ALL {
        // Bytes in every version, not characters: `é` has two.
        let base = build(version, "m.room.message", None, r#"{"body":""}"#).json().len();
        let body = |bytes: usize| format!(r#"{{"body":"{}{}"}}"#, "é".repeat(bytes / 2), "x".repeat(bytes % 2));
        let event = |bytes| builder(version, "m.room.message", None, &body(bytes));
        let largest = event(MAX_PDU - base).build(version, &key(), &"a.org".parse().unwrap()).unwrap();
        assert_eq!(largest.json().len(), MAX_PDU);
        assert!(Pdu::parse(largest.json(), version).is_ok());
        let larger = largest.json().replacen("é", "éx", 1);
        assert_eq!(Pdu::parse(&larger, version), Err(PduError::TooLarge(MAX_PDU + 1)), "{version}");
    }
    let base = build(V11, "m.room.message", None, r#"{"body":""}"#).json().len();
    let body = |length: usize| format!(r#"{{"body":"{}"}}"#, "x".repeat(length));
    let largest = build(V11, "m.room.message", None, &body(MAX_PDU - base));
    assert_eq!(largest.json().len(), MAX_PDU);
    let larger =
        builder(V11, "m.room.message", None, &body(MAX_PDU - base + 1)).build(V11, &key(), &"a.org".parse().unwrap());
    assert_eq!(larger, Err(BuildError::Pdu(PduError::TooLarge(MAX_PDU + 1))));
    // Whitespace that canonical JSON removes does not count.
    let spaced = largest.json().replace("\":", "\" : ");
    assert!(Pdu::parse(&spaced, V11).is_ok());
}

#[test]
fn numbers_of_early_versions() {
    let odd = r#"{"f":1.50,"big":123456789012345678901234567890,"neg":-0.0,"e":1e3}"#;
    for version in RoomVersion::ALL {
        let built = builder(version, "x", None, odd).build(version, &key(), &"a.org".parse().unwrap());
        if version >= V6 {
            assert!(matches!(built, Err(BuildError::NotCanonical(_))), "{version}");
            assert!(matches!(altered(version, "unknown", "1.0"), Err(PduError::NotCanonical(_))));
            assert!(matches!(altered(version, "depth", "9007199254740992"), Err(PduError::NotCanonical(_))));
            assert!(matches!(altered(version, "origin_server_ts", "1.5"), Err(PduError::NotCanonical(_))));
            continue;
        }
        let pdu = built.unwrap();
        assert_eq!(pdu.content_json(), r#"{"big":123456789012345678901234567890,"e":1000.0,"f":1.5,"neg":-0.0}"#);
        assert!(pdu.content_hash_matches());
        assert_eq!(Pdu::parse(pdu.json(), version), Ok(pdu));
        assert_eq!(altered(version, "depth", "9223372036854775807").unwrap().depth(), i64::MAX as u64);
        assert_eq!(altered(version, "depth", "9223372036854775808"), Err(PduError::WrongType("depth")));
        assert_eq!(altered(version, "depth", "1.0"), Err(PduError::WrongType("depth")));
        assert_eq!(altered(version, "origin_server_ts", "1234.7").unwrap().origin_server_ts(), 1234);
        assert_eq!(altered(version, "origin_server_ts", "-1.5"), Err(PduError::WrongType("origin_server_ts")));
    }
}

#[test]
fn remote_unsigned_is_dropped() {
    let remote = |event_type: &str, unsigned: &str| {
        let pdu = build(V11, event_type, Some("@b:b.org"), r#"{"membership":"invite"}"#);
        Pdu::parse_remote(&parse::replace_member(pdu.json(), "unsigned", Some(unsigned)), V11).unwrap()
    };
    let unsigned = r#"{"age":1,"redacted_because":{},"invite_room_state":[1],"knock_room_state":[2]}"#;
    assert_eq!(remote("m.room.topic", unsigned).unsigned(), None);
    assert!(!remote("m.room.topic", unsigned).json().contains("unsigned"));
    let kept = remote("m.room.member", unsigned);
    assert_eq!(kept.unsigned().unwrap().to_json(), r#"{"invite_room_state":[1],"knock_room_state":[2]}"#);
    assert_eq!(remote("m.room.member", r#"{"age":1}"#).unsigned(), None);
    assert_eq!(remote("m.room.member", "[]").unsigned(), None);
}

#[test]
fn deepest_content_is_refused_not_fatal() {
    let depth = crate::json::MAX_NESTING + 10;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(altered(V1, "content", &deep), Err(PduError::Json(crate::json::ParseError::TooDeep)));
}

#[test]
fn own_content_is_readable_everywhere() {
    for version in RoomVersion::ALL {
        let built = |depth: usize| {
            let content = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            builder(version, "m.room.message", None, &content).build(version, &key(), &"a.org".parse().unwrap())
        };
        assert!(built(99).is_ok(), "{version}");
        assert_eq!(built(100), Err(BuildError::TooDeep), "{version}");
    }
}

#[test]
fn numbers_that_nobody_can_read_are_refused_in_every_version() {
    for version in RoomVersion::ALL {
        for number in ["1e999", "-1e999", &"9".repeat(5_000)] {
            let content = format!(r#"{{"a":[{number}]}}"#);
            assert!(matches!(altered(version, "content", &content), Err(PduError::NotCanonical(_))), "{version}");
        }
    }
}

#[test]
fn an_event_leaves_room_for_what_wraps_it() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(
        altered(V1, "content", &nested(crate::json::MAX_NESTING - 5)),
        Err(PduError::Json(crate::json::ParseError::TooDeep))
    );
    let deep = altered(V1, "content", &nested(crate::json::MAX_NESTING - 30)).unwrap();
    Object::parse(&format!(r#"{{"pdus":[{}]}}"#, deep.json())).unwrap();
}

#[test]
fn redacts_stands_where_the_version_says() {
    for version in RoomVersion::ALL {
        let mut event = builder(version, "m.room.redaction", None, r#"{"reason":"spam"}"#);
        event.redacts = Some("$target:a.org".parse().unwrap());
        let pdu = event.build(version, &key(), &"a.org".parse().unwrap()).unwrap();
        assert_eq!(pdu.redacts().map(EventId::as_str), Some("$target:a.org"), "{version}");
        assert_eq!(pdu.member_json("redacts").is_some(), version < V11);
        assert_eq!(pdu.content().contains_key("redacts"), version >= V11);
        let client = Object::parse(&client_json(&pdu)).unwrap();
        assert_eq!(client.get_str("redacts"), Some("$target:a.org"));
        assert_eq!(client.get_object("content").unwrap().get_str("redacts"), Some("$target:a.org"));
        assert_eq!(redact(&pdu).redacts().is_some(), version >= V11);
        assert_eq!(Pdu::parse(redact(&pdu).json(), version), Ok(redact(&pdu)));
    }
    assert_eq!(altered(V10, "redacts", "\"$x:y\"").unwrap().redacts(), None, "only redactions redact");
}

#[test]
fn client_formats() {
    let pdu = build(V11, "m.room.topic", Some("a\"b"), r#"{"topic":"é\n"}"#);
    let id = pdu.event_id();
    assert_eq!(
        client_json(&pdu),
        format!(
            r#"{{"content":{{"topic":"é\n"}},"event_id":"{id}","origin_server_ts":1000000,"sender":"@alice:a.org","state_key":"a\"b","type":"m.room.topic"}}"#
        )
    );
    assert_eq!(
        stripped_json(&pdu),
        r#"{"content":{"topic":"é\n"},"sender":"@alice:a.org","state_key":"a\"b","type":"m.room.topic"}"#
    );
    let message = client_json(&build(V1, "m.room.message", None, "{}"));
    assert!(!message.contains("state_key"));
    let more = with_members(&message, &[("room_id", "\"!r:a.org\""), ("unsigned", "{\"age\":1}")]);
    let object = Object::parse(&more).unwrap();
    assert_eq!((object.get_str("room_id"), object.len()), (Some("!r:a.org"), 7));
    assert_eq!(with_members("{}", &[("a", "1")]), r#"{"a":1}"#);
    assert_eq!(with_members("{}", &[]), "{}");
    assert_eq!(with_members(r#"{"b":2}"#, &[]), r#"{"b":2}"#);
}

#[test]
fn templates_of_other_servers() {
    let mut template =
        builder(V11, "m.room.member", Some("@alice:a.org"), r#"{"membership":"join"}"#).into_template(V11);
    assert!(!template.contains_key("hashes") && !template.contains_key("signatures"));
    template.insert("event_id", "$made_up:a.org");
    template.insert("hashes", Object::from([("sha256", "wrong")]));
    template.insert("signatures", Object::from([("evil", Object::new())]));
    let pdu = finish(template, V11, &key(), &"a.org".parse().unwrap()).unwrap();
    assert!(pdu.content_hash_matches());
    assert_eq!(pdu.member_json("event_id"), None);
    assert!(!pdu.json().contains("evil"));
    let broken = finish(Object::from([("type", 1)]), V11, &key(), &"a.org".parse().unwrap());
    assert_eq!(broken, Err(BuildError::Pdu(PduError::WrongType("type"))));
}

#[test]
fn members_are_replaced_in_place() {
    let json = r#"{"b":1,"d":2}"#;
    for (key, value, expected) in [
        ("a", Some("0"), r#"{"a":0,"b":1,"d":2}"#),
        ("b", Some("0"), r#"{"b":0,"d":2}"#),
        ("c", Some("0"), r#"{"b":1,"c":0,"d":2}"#),
        ("e", Some("0"), r#"{"b":1,"d":2,"e":0}"#),
        ("b", None, r#"{"d":2}"#),
        ("c", None, json),
    ] {
        assert_eq!(parse::replace_member(json, key, value), expected);
    }
    assert_eq!(parse::replace_member("{}", "a", None), "{}");
    assert_eq!(parse::replace_member("{}", "a", Some("1")), r#"{"a":1}"#);
    assert_eq!(parse::replace_member(r#"{"a":1}"#, "a", None), "{}");
}

#[test]
fn auth_event_selection() {
    let keys = |version: RoomVersion, event_type: &str, state_key: Option<&str>, content: &str| {
        let content = Object::parse(content).unwrap();
        let keys = auth_event_keys(version.rules(), event_type, &"@a:x".parse().unwrap(), state_key, &content);
        let short =
            |(event_type, state_key): (String, String)| format!("{} {state_key}", event_type.replace("m.room.", ""));
        keys.into_iter().map(short).map(|s| s.trim_end().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let base = "create, power_levels, member @a:x";
    assert_eq!(keys(V11, "m.room.create", Some(""), "{}"), "");
    assert_eq!(keys(V11, "m.room.message", None, r#"{"membership":"join"}"#), base);
    assert_eq!(keys(V12, "m.room.message", None, "{}"), "power_levels, member @a:x");
    let member = |version, state_key, content| keys(version, "m.room.member", Some(state_key), content);
    assert_eq!(member(V11, "@a:x", r#"{"membership":"join"}"#), format!("{base}, join_rules"));
    assert_eq!(member(V11, "@b:x", r#"{"membership":"invite"}"#), format!("{base}, member @b:x, join_rules"));
    assert_eq!(member(V11, "@b:x", r#"{"membership":"leave"}"#), format!("{base}, member @b:x"));
    assert_eq!(member(V11, "@b:x", r#"{"membership":"ban"}"#), format!("{base}, member @b:x"));
    assert_eq!(member(V7, "@a:x", r#"{"membership":"knock"}"#), format!("{base}, join_rules"));
    assert_eq!(
        member(V11, "@b:x", r#"{"membership":"invite","third_party_invite":{"signed":{"token":"t"}}}"#),
        format!("{base}, member @b:x, join_rules, third_party_invite t")
    );
    assert_eq!(
        member(V11, "@a:x", r#"{"membership":"join","third_party_invite":{"signed":{"token":"t"}}}"#),
        format!("{base}, join_rules")
    );
    let restricted = r#"{"membership":"join","join_authorised_via_users_server":"@c:y"}"#;
    assert_eq!(member(V7, "@a:x", restricted), format!("{base}, join_rules"));
    assert_eq!(member(V8, "@a:x", restricted), format!("{base}, join_rules, member @c:y"));
    assert_eq!(keys(V11, "m.room.member", None, restricted), base);
}

#[test]
fn redacting_objects_and_events_agree() {
    let pdu = build(V9, "m.room.member", Some("@alice:a.org"), r#"{"membership":"join","displayname":"A"}"#);
    let object = redact_object(&Object::parse(pdu.json()).unwrap(), V9.rules());
    assert_eq!(object.to_json(), redact(&pdu).json());
    assert_eq!(redact_object(&Object::new(), V9.rules()).to_json(), r#"{"content":{}}"#);
    assert_eq!(object.get("content"), Some(&Value::Object(Object::from([("membership", "join")]))));
}
