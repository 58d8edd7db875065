use super::*;

#[test]
fn wildcards_match_anywhere() {
    for (pattern, text, expected) in [
        ("m.room.message", "m.room.message", true),
        ("m.room.*", "m.room.message", true),
        ("m.room.*", "m.call.invite", false),
        ("*", "", true),
        ("*.message", "m.room.message", true),
        ("m.*.message", "m.room.message", true),
        ("m.*.x.*.e", "m.a.x.b.e", true),
        ("a*a", "a", false),
        ("m.room.mess", "m.room.message", false),
    ] {
        assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn exclusions_win() {
    let filter = Filter::parse(
        r#"{"room":{"rooms":["!a:x","!b:x"],"not_rooms":["!b:x"],
            "timeline":{"types":["m.room.*"],"not_types":["m.room.member"],"not_senders":["@bad:x"],"contains_url":true,"limit":5}}}"#,
    )
    .expect("a filter");
    assert!(filter.room.allows_room("!a:x"));
    assert!(!filter.room.allows_room("!b:x"));
    assert!(!filter.room.allows_room("!c:x"));
    let timeline = &filter.room.timeline;
    assert_eq!(timeline.event.limit, Some(5));
    assert!(timeline.allows("m.room.message", "@good:x", || true));
    assert!(!timeline.allows("m.room.message", "@good:x", || false));
    assert!(!timeline.allows("m.room.member", "@good:x", || true));
    assert!(!timeline.allows("m.room.message", "@bad:x", || true));
    assert!(!timeline.allows("m.call.invite", "@good:x", || true));
}

#[test]
fn an_empty_list_of_types_wants_none() {
    let filter = Filter::parse(r#"{"presence":{"types":[]}}"#).expect("a filter");
    assert!(!filter.presence.allows("m.presence", "@a:x"));
}

#[test]
fn wrong_types_are_refused() {
    for json in [r#"{"room":{"timeline":{"limit":-1}}}"#, r#"{"room":1}"#, r#"{"event_format":"xml"}"#, "[]", "1"] {
        assert!(Filter::parse(json).is_err(), "{json}");
    }
}
