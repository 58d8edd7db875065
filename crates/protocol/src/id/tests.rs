use super::*;

#[test]
fn server_names() {
    let valid = [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "localhost",
        "UPPER.example",
        "a-b.c",
        "[::ffff:1.2.3.4]:1",
        "256.256.256.256",
        "x:00080",
    ];
    for name in valid {
        assert!(name.parse::<ServerName>().is_ok(), "{name}");
    }
    let long = "a".repeat(256);
    let invalid = [
        "",
        ":80",
        "matrix.org:",
        "matrix.org:99999",
        "matrix.org:123456",
        "matrix.org:8a",
        "[1::2",
        "1::2]",
        "::1",
        "[::1]x",
        "[::1]:",
        "[example]",
        "a_b",
        "é.org",
        "a b",
        "a:1:2",
        "[fe80::1%1]",
        long.as_str(),
    ];
    for name in invalid {
        assert!(name.parse::<ServerName>().is_err(), "{name}");
    }
}

#[test]
fn hosts() {
    let host = |name: &str| format!("{:?}", name.parse::<ServerName>().unwrap().host());
    assert_eq!(host("matrix.org:1"), r#"Name("matrix.org")"#);
    assert_eq!(host("1.2.3.4:1"), "Address(1.2.3.4)");
    assert_eq!(host("[::1]:1"), "Address(::1)");
    assert_eq!("[::1]:80".parse::<ServerName>().unwrap().host_port(), ("[::1]", Some(80)));
}

#[test]
fn user_ids() {
    for (id, strict, compliant) in [
        ("@alice:example.org", true, true),
        ("@a/b+c=d_e-f.0:example.org:8448", true, true),
        ("@Alice:example.org", false, true),
        ("@a b:example.org", false, false),
        ("@:example.org", false, false),
        ("@é\u{7}:[::1]:1", false, false),
    ] {
        let user: UserId = id.parse().unwrap();
        assert_eq!((user.is_strict(), user.is_compliant()), (strict, compliant), "{id}");
    }
    for id in ["alice:example.org", "@alice", "@alice:", "@a\0:x", "@a:b:c", "", "@"] {
        assert!(id.parse::<UserId>().is_err(), "{id}");
    }
    let user: UserId = "@alice:example.org:8448".parse().unwrap();
    assert_eq!((user.localpart(), user.server_name()), ("alice", "example.org:8448"));
    let server: ServerName = "x".parse().unwrap();
    assert_eq!(UserId::new("bob", &server).unwrap(), "@bob:x");
    assert!(UserId::new("b:ob", &server).is_err());
    assert!(UserId::new(&"b".repeat(252), &server).is_ok());
    assert_eq!(UserId::new(&"b".repeat(253), &server), Err(IdError::TooLong));
}

#[test]
fn room_and_event_ids() {
    let hash = "31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
    let room: RoomId = format!("!{hash}").parse().unwrap();
    assert_eq!(room.server_name(), None);
    let create = room.create_event_id().unwrap();
    assert_eq!(create.as_str(), format!("${hash}"));
    assert_eq!(RoomId::from_create_event(&create), room);
    let room: RoomId = "!abc:example.org:80".parse().unwrap();
    assert_eq!((room.server_name(), room.create_event_id()), (Some("example.org:80"), None));
    assert!("!".parse::<RoomId>().is_err());
    assert!("!a:".parse::<RoomId>().is_err());
    assert!("$a:b".parse::<RoomId>().is_err());
    assert_eq!("$a:b".parse::<EventId>().unwrap().server_name(), Some("b"));
    assert!("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk".parse::<EventId>().is_ok());
    assert!(format!("${}", "x".repeat(255)).parse::<EventId>().is_err());
    assert_eq!("#room:x".parse::<RoomAlias>().unwrap().localpart(), "room");
    assert!("#room".parse::<RoomAlias>().is_err());
}

#[test]
fn serde_validates() {
    assert!(serde_json::from_str::<UserId>(r#""@a:b""#).is_ok());
    let error = serde_json::from_str::<UserId>(r#""a""#).unwrap_err().to_string();
    assert!(error.starts_with("UserId must start with '@'"), "{error}");
}
