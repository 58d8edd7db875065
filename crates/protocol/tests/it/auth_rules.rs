//! Every authorization rule in every room version: the cases of `fixtures/auth_rules.txt`, and those that need keys or
//! auth events.

use std::{collections::BTreeMap, path::Path};

use plexus_protocol::{
    auth::{self, AuthEvent, AuthRejection},
    event::{
        Pdu,
        build::PduBuilder,
        sign::{self, KnownKey, SignatureError, SigningKey},
    },
    id::EventId,
    json::Object,
    rules::RoomVersion,
};

use crate::{
    resolution::{EventLine, adapt, event_type, parse_event, version_range},
    room::{NewEvent, Room, StateMap},
};

const BASE: [&str; 6] = [
    "alice create {}",
    r#"alice member alice {"membership":"join"}"#,
    r#"bob member bob {"membership":"join"}"#,
    r#"carol member carol {"membership":"join"}"#,
    r#"alice power_levels {"users":{"@alice:a":100,"@bob:a":50}}"#,
    r#"alice join_rules {"join_rule":"public"}"#,
];

struct Built {
    room: Room,
    state: StateMap,
}

impl Built {
    fn new(version: RoomVersion) -> Self {
        let mut built = Self { room: Room::new(version), state: StateMap::new() };
        BASE.iter().for_each(|line| built.put(line));
        built
    }

    fn put(&mut self, line: &str) {
        let event = self.event(line);
        self.state = Room::after(&self.state, &event);
    }

    fn event(&mut self, line: &str) -> Pdu {
        let version = self.room.version;
        // A user of another server, and a state key that stays as it is.
        let (line, other_server) = (line.replace("zoe:b", "zoe"), line.contains("zoe:b"));
        let literal_key = line.contains("member!");
        let EventLine { sender, event_type, state_key, mut content, .. } =
            parse_event(&format!("x <- - : {}", line.replace("member!", "member")));
        if !line.contains("keep-creator") {
            adapt(&mut content, &event_type, version);
        }
        let option = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let name = match event_type.as_str() {
            "m.room.create" => "create".to_owned(),
            _ => format!("e{}", self.room.events.len()),
        };
        let previous = match option("prev") {
            Some(previous) => vec![self.room.id(previous)],
            None if event_type == "m.room.create" => Vec::new(),
            None => vec![self.room.id("e0")],
        };
        let redacts = option("redacts").map(|id| id.parse::<EventId>().unwrap());
        if let (Some(redacts), true) = (&redacts, version >= RoomVersion::V11) {
            content.insert("redacts", redacts.as_str());
        }
        let sender = if other_server { "@zoe:b".to_owned() } else { sender };
        let key = match &state_key {
            Some(key) if literal_key => Some(key.trim_start_matches('@').trim_end_matches(":a")),
            key => key.as_deref(),
        };
        let pdu = self.room.add(NewEvent {
            name: &name,
            sender: &sender,
            event_type: &event_type,
            state_key: key,
            content,
            time: 1,
            depth: 1,
            prev: previous,
            state: &self.state,
            auth: None,
        });
        match redacts {
            Some(redacts) if version < RoomVersion::V11 => with_redacts(&pdu, &redacts),
            _ => pdu,
        }
    }

    fn check(&self, event: &Pdu) -> Result<(), AuthRejection> {
        auth::check(self.room.version.rules(), event, &|event_type, key| {
            let id = self.state.get(&(event_type.to_owned(), key.to_owned()))?;
            self.room.events.get(id).cloned()
        })
    }
}

fn with_redacts(pdu: &Pdu, redacts: &EventId) -> Pdu {
    let mut json = Object::parse(pdu.json()).unwrap();
    json.insert("redacts", redacts.as_str());
    Pdu::from_stored(&json.to_json(), pdu.event_id().clone(), pdu.room_version()).unwrap()
}

/// The name of the result: `Banned` for `Banned`, `InsufficientPower` for `InsufficientPower { .. }`.
fn name(result: &Result<(), AuthRejection>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(rejection) => format!("{rejection:?}").split([' ', '(']).next().unwrap().to_owned(),
    }
}

#[derive(Default)]
struct Case<'a> {
    title: &'a str,
    setup: Vec<(&'a str, &'a str)>,
    event: &'a str,
    expected: BTreeMap<RoomVersion, &'a str>,
}

fn cases(text: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "case" => cases.push(Case { title: rest, ..Case::default() }),
            "state" | "without" => cases.last_mut().unwrap().setup.push((word, rest)),
            "event" => cases.last_mut().unwrap().event = rest,
            versions => {
                let versions = version_range(versions).into_iter().map(|version| (version, rest));
                cases.last_mut().unwrap().expected.extend(versions);
            }
        }
    }
    cases
}

#[test]
fn rule_by_rule() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/auth_rules.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for case in cases(&text) {
        for (version, expected) in &case.expected {
            let mut built = Built::new(*version);
            for (word, rest) in &case.setup {
                if *word == "state" {
                    built.put(rest);
                } else {
                    let (kind, key) = rest.split_once(' ').unwrap_or((rest, ""));
                    let key = if kind == "member" { format!("@{key}:a") } else { key.to_owned() };
                    built.state.remove(&(event_type(kind), key)).unwrap();
                }
            }
            let event = built.event(case.event);
            let actual = name(&built.check(&event));
            if actual != *expected {
                wrong.push(format!("{} in version {version}: {actual}, not {expected}", case.title));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 1000, "{checked}");
}

#[test]
fn create_without_creator() {
    for version in RoomVersion::ALL {
        let mut built = Built { room: Room::new(version), state: StateMap::new() };
        let event = built.event(r#"alice create {"x":1} keep-creator"#);
        let expected = if version < RoomVersion::V11 { "MissingCreator" } else { "ok" };
        assert_eq!(name(&built.check(&event)), expected, "version {version}");
    }
}

#[test]
fn create_with_previous_events_or_of_another_server() {
    for version in RoomVersion::ALL {
        let mut built = Built::new(version);
        let event = built.event("alice create {} prev=e0");
        assert_eq!(built.check(&event), Err(AuthRejection::CreateHasPrevEvents), "version {version}");
        let event = built.event("zoe:b create {}");
        let expected = if version < RoomVersion::V12 { "CreateRoomIdOfOtherServer" } else { "ok" };
        assert_eq!(name(&built.check(&event)), expected, "version {version}");
    }
}

/// Rules 2 and 3.
#[test]
fn auth_events() {
    for version in RoomVersion::ALL {
        let rules = version.rules();
        let mut built = Built::new(version);
        let event = built.event(r#"bob topic {}"#);
        let check = |built: &Built, event: &Pdu, rejected: Option<&EventId>| {
            let lookup = |id: &EventId| {
                let pdu = built.room.events.get(id)?.clone();
                Some(AuthEvent { pdu, rejected: Some(id) == rejected })
            };
            name(&auth::check_state_independent(rules, event, &lookup))
        };
        let id = |built: &Built, kind: &str, key: &str| built.state[&(kind.to_owned(), key.to_owned())].clone();
        let levels = id(&built, "m.room.power_levels", "");
        assert_eq!(check(&built, &event, None), "ok", "version {version}");
        assert_eq!(check(&built, &event, Some(&levels)), "RejectedAuthEvent", "version {version}");

        let with_auth = |built: &mut Built, auth: Vec<EventId>| {
            let state = built.state.clone();
            built.room.add(NewEvent {
                name: &format!("e{}", built.room.events.len()),
                sender: "@bob:a",
                event_type: "m.room.topic",
                state_key: Some(""),
                content: Object::new(),
                time: 1,
                depth: 1,
                prev: vec![],
                state: &state,
                auth: Some(auth),
            })
        };
        let auth = event.auth_events().to_vec();
        let create = id(&built, "m.room.create", "");
        let without_create: Vec<_> = auth.iter().filter(|id| **id != create).cloned().collect();
        // 3.4 until version 11, 3.2 from version 12 on.
        let missing = with_auth(&mut built, without_create.clone());
        let present = with_auth(&mut built, without_create.iter().cloned().chain([create.clone()]).collect());
        let expected =
            if version < RoomVersion::V12 { ["AuthEventsWithoutCreate", "ok"] } else { ["ok", "UnexpectedAuthEvent"] };
        assert_eq!([check(&built, &missing, None), check(&built, &present, None)], expected, "version {version}");
        // 3.1, 3.2.
        let twice = with_auth(&mut built, auth.iter().cloned().chain([levels]).collect());
        assert_eq!(check(&built, &twice, None), "DuplicateAuthEvent", "version {version}");
        let rules_event = id(&built, "m.room.join_rules", "");
        let unexpected = with_auth(&mut built, auth.iter().cloned().chain([rules_event]).collect());
        assert_eq!(check(&built, &unexpected, None), "UnexpectedAuthEvent", "version {version}");
        let unknown = with_auth(&mut built, auth.iter().cloned().chain(["$unknown:a".parse().unwrap()]).collect());
        assert_eq!(check(&built, &unknown, None), "UnknownAuthEvent", "version {version}");
        // 2.
        let expected = if version < RoomVersion::V12 { "RejectedAuthEvent" } else { "UnknownRoom" };
        assert_eq!(check(&built, &event, Some(&create)), expected, "version {version}");
    }
}

/// Rule 5.2.1 is a matter of signatures: it is checked before the others, and only for joins.
#[test]
fn restricted_joins_are_signed_by_who_authorised_them() {
    let dave = SigningKey::generate(&[1; 32], "d");
    let carol = SigningKey::generate(&[2; 32], "c");
    let keys = |server: &str, id: &str| {
        let key =
            [("b", &dave), ("a", &carol)].into_iter().find(|(name, key)| *name == server && key.key_id() == id)?.1;
        Some(KnownKey { key: key.public_key(), valid_until_ts: u64::MAX })
    };
    for version in RoomVersion::ALL {
        for (membership, asked) in [("join", version >= RoomVersion::V8), ("leave", false)] {
            let content = [("membership", membership), ("join_authorised_via_users_server", "@carol:a")];
            let room_id = if version < RoomVersion::V12 { "!room:a".to_owned() } else { format!("!{:A<43}", "create") };
            let builder = PduBuilder {
                room_id: Some(room_id.parse().unwrap()),
                sender: "@dave:b".parse().unwrap(),
                event_type: "m.room.member".to_owned(),
                state_key: Some("@dave:b".to_owned()),
                content: Object::from(content),
                unsigned: None,
                redacts: None,
                prev_events: vec![],
                auth_events: vec![],
                depth: 1,
                origin_server_ts: 1,
            };
            let event = builder.build(version, &dave, &"b".parse().unwrap()).unwrap();
            let expected = if asked { Err(SignatureError::Missing("a".to_owned())) } else { Ok(()) };
            assert_eq!(sign::verify(&event, &keys), expected, "{membership} in version {version}");
            let signed = sign::add_signature(&event, &carol, &"a".parse().unwrap()).unwrap();
            assert_eq!(sign::verify(&signed, &keys), Ok(()), "{membership} in version {version}");
            let forged =
                sign::add_signature(&event, &SigningKey::generate(&[3; 32], "c"), &"a".parse().unwrap()).unwrap();
            let expected = if asked { Err(SignatureError::Invalid("a".to_owned())) } else { Ok(()) };
            assert_eq!(sign::verify(&forged, &keys), expected, "{membership} in version {version}");
        }
    }
}

/// Rule 3.5.
#[test]
fn auth_events_of_another_room() {
    for version in RoomVersion::ALL {
        let mut built = Built::new(version);
        let event = built.event("bob topic {}");
        let lookup = |id: &EventId| {
            let pdu = built.room.events.get(id)?;
            let mut json = Object::parse(pdu.json()).unwrap();
            if pdu.event_type() == "m.room.power_levels" {
                let other =
                    if version < RoomVersion::V12 { "!other:a".to_owned() } else { format!("!{:B<43}", "other") };
                json.insert("room_id", other);
            }
            let pdu = Pdu::from_stored(&json.to_json(), id.clone(), version).unwrap();
            Some(AuthEvent { pdu, rejected: false })
        };
        let result = auth::check_state_independent(version.rules(), &event, &lookup);
        assert_eq!(name(&result), "AuthEventOfOtherRoom", "version {version}");
    }
}

/// Rule 5.4.1.7.
#[test]
fn third_party_invites() {
    let key = SigningKey::generate(&[1; 32], "0");
    let other = SigningKey::generate(&[2; 32], "0");
    let invite = |signer: &SigningKey| {
        let mut signed = Object::parse(r#"{"mxid":"@dave:a","token":"t"}"#).unwrap();
        signer.sign_object(&mut signed, "id.example.org").unwrap();
        format!(r#"bob member dave {{"membership":"invite","third_party_invite":{{"signed":{}}}}}"#, signed.to_json())
    };
    let (good, bad) = (key.public_key_base64(), other.public_key_base64());
    let cases = [
        (format!(r#"{{"public_key":"{good}"}}"#), "ok"),
        (format!(r#"{{"public_key":"{bad}"}}"#), "ThirdPartyInviteNotSigned"),
        (format!(r#"{{"public_key":"{bad}","public_keys":[{{"public_key":"{good}"}}]}}"#), "ok"),
        (format!(r#"{{"public_keys":[{{"public_key":"{bad}"}},{{"public_key":"{good}="}}]}}"#), "ok"),
        (r#"{"public_key":"nonsense","public_keys":[1]}"#.to_owned(), "ThirdPartyInviteNotSigned"),
    ];
    for version in RoomVersion::ALL {
        for (content, expected) in &cases {
            let mut built = Built::new(version);
            built.put(&format!("bob third_party_invite t {content}"));
            let event = built.event(&invite(&key));
            assert_eq!(name(&built.check(&event)), *expected, "{content} in version {version}");
            // The sender needs no power, and need not be in the room any more.
            built.state.remove(&("m.room.member".to_owned(), "@bob:a".to_owned()));
            assert_eq!(name(&built.check(&event)), *expected, "{content} in version {version}");
        }
    }
}
