use super::*;
use crate::{json::Object, rules::RoomVersion};

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

fn levels(version: RoomVersion, content: Option<&str>) -> PowerLevels {
    let content = content.map(|json| Object::parse(json).unwrap());
    PowerLevels::new(version.rules(), &[user("@creator:a")], content.as_ref())
}

#[test]
fn without_an_event() {
    for version in RoomVersion::ALL {
        let levels = levels(version, None);
        let creator = if version < RoomVersion::V12 { PowerLevel::Level(100) } else { PowerLevel::Infinite };
        assert_eq!(levels.user(&user("@creator:a")), creator);
        assert_eq!(levels.user(&user("@bob:a")), 0);
        assert_eq!(levels.invite(), 0);
        for level in [levels.kick(), levels.ban(), levels.redact(), levels.state_default(), levels.notifications_room()]
        {
            assert_eq!(level, 50);
        }
        assert_eq!(levels.event("m.room.message", false), 0);
        assert_eq!(levels.event("m.room.topic", true), 50);
    }
}

#[test]
fn with_an_event() {
    let content = r#"{
        "users": {"@alice:a": 70, "@creator:a": 5}, "users_default": 1, "events": {"m.room.topic": 3},
        "events_default": 2, "state_default": 60, "ban": 61, "kick": 62, "redact": 63, "invite": 64,
        "notifications": {"room": 65}
    }"#;
    for version in RoomVersion::ALL {
        let levels = levels(version, Some(content));
        assert_eq!(levels.user(&user("@alice:a")), 70);
        assert_eq!(levels.user(&user("@bob:a")), 1);
        let creator = if version < RoomVersion::V12 { PowerLevel::Level(5) } else { PowerLevel::Infinite };
        assert_eq!(levels.user(&user("@creator:a")), creator);
        assert_eq!(levels.event("m.room.topic", true), 3);
        assert_eq!(levels.event("m.room.name", true), 60);
        assert_eq!(levels.event("m.room.message", false), 2);
        let named = [levels.ban(), levels.kick(), levels.redact(), levels.invite(), levels.notifications_room()];
        assert_eq!(named, [61, 62, 63, 64, 65].map(PowerLevel::Level));
        assert!(levels.can_redact(&user("@alice:a"), &user("@bob:a")));
        assert!(!levels.can_redact(&user("@bob:a"), &user("@alice:a")));
        assert!(levels.can_redact(&user("@bob:a"), &user("@bob:a")));
        assert!(levels.redaction_takes_effect(&user("@bob:a"), &user("@alice:a")));
        assert!(!levels.redaction_takes_effect(&user("@bob:b"), &user("@alice:a")));
    }
}

/// Strings and floats as levels ([room version
/// 1](https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings)); version 10 ends
/// both.
#[test]
fn strings_and_floats() {
    let cases = [
        ("50", Some(50), true),
        ("-7", Some(-7), true),
        ("\"50\"", Some(50), false),
        ("\" +00050 \"", Some(50), false),
        ("\"-50\"", Some(-50), false),
        ("\"50.0\"", None, false),
        ("\"5e1\"", None, false),
        ("\"\"", None, false),
        ("\"+-5\"", None, false),
        ("50.57", Some(50), false),
        ("-50.57", Some(-50), false),
        ("5.114698E4", Some(51146), false),
        ("1e400", None, false),
        ("true", None, false),
        ("null", None, false),
        ("[]", None, false),
    ];
    for (json, expected, since_v10) in cases {
        let value = Value::parse(json).unwrap();
        for version in RoomVersion::ALL {
            let expected = expected.filter(|_| version < RoomVersion::V10 || since_v10);
            assert_eq!(level(version.rules(), &value), expected, "{json} in version {version}");
        }
    }
}

#[test]
fn nothing_is_above_infinite() {
    assert!(PowerLevel::Infinite > PowerLevel::Level(i64::MAX));
    assert!(PowerLevel::Infinite >= PowerLevel::Infinite);
    assert!(PowerLevel::Level(-1) < PowerLevel::Level(0));
}
