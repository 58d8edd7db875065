//! Push rules compared with ruma's, on generated rules and events.
//!
//! The generator leaves out intentional differences:
//! - an empty pattern over `content.body`: the empty text at the start of the body starts and ends at a word boundary,
//!   so it matches, as it does on other servers; ruma does not match;
//! - `*` and `?` in display names: the condition is that the body contains the name, ruma treats it as a glob;
//! - two wildcards in a row in a pattern over `content.body`: ruma treats the second as text;
//! - line breaks where a wildcard would match them: ruma's wildcards match none;
//! - events that the owner sent: no rule matches in ruma, here the caller does not ask.

use std::{
    collections::BTreeMap,
    pin::pin,
    task::{Context, Poll, Waker},
};

use plexus_protocol::{
    id::UserId,
    json::Object,
    power_levels::PowerLevels,
    push_rules::{
        self, CompiledRuleset, EventView, Owner, RoomContext, UserRules, default_ruleset,
        default_ruleset_with_legacy_mentions,
    },
    rules::RoomVersion,
};
use ruma_common::{
    power_levels::NotificationPowerLevels,
    push::{PushConditionPowerLevelsCtx, PushConditionRoomCtx, Ruleset},
    room_version_rules::RoomPowerLevelsRules,
    serde::Raw,
};
use serde_json::{Value, json, value::RawValue};

use crate::generate::Generator;

const KEYS: &[&str] = &[
    "content.body",
    "content.body",
    "type",
    "sender",
    "room_id",
    "state_key",
    "content.membership",
    "content.a",
    r"content.m\.x.y",
    "content.m.x.y",
    "content.n",
    "content.deep.er",
    "content",
    "",
    "nothing",
];
const PATTERNS: &[&str] = &[
    "cake",
    "*",
    "?",
    "c*e",
    "ca?e",
    "*ake",
    "cake*",
    "@room",
    "m.room.*",
    "m.room.message",
    "@bob:*",
    "tea time",
    "é",
    "a_b",
    "-",
    "lie!",
    "CAKE",
    "?-?",
    "*a*e*",
    "t?a*e",
    "1",
];
const BODIES: &[&str] = &[
    "cake",
    "the CAKE is a lie!",
    "pancake",
    "cakes",
    "piece-of-cake",
    "",
    "tea time",
    "tea  time",
    "@room",
    "x@room",
    "@rooms @room",
    "é",
    "caféé",
    "a_b a b",
    "alice",
    "Alice!",
    "malice alice",
    "-",
    "c e",
    "ce",
    "cace cake",
    "1",
    "pancake cake",
    "m.room.message",
    "Alice Liddell?",
    "not alice liddell",
    "\ncake!",
];

fn value(random: &mut Generator) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.below(3)),
        3 => json!([random.pick(BODIES), random.below(3), true, null, {"x": 1}]),
        4 => json!({"er": random.pick(BODIES)}),
        _ => json!(random.pick(BODIES)),
    }
}

fn scalar(random: &mut Generator) -> Value {
    match random.below(6) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.below(3)),
        _ => json!(random.pick(BODIES)),
    }
}

fn condition(random: &mut Generator) -> Value {
    match random.below(9) {
        0..=2 => {
            json!({"kind": "event_match", "key": random.pick(KEYS), "pattern": random.pick(PATTERNS)})
        }
        3 => {
            json!({"kind": "event_property_is", "key": random.pick(KEYS), "value": scalar(random)})
        }
        4 => {
            json!({"kind": "event_property_contains", "key": random.pick(KEYS), "value": scalar(random)})
        }
        5 => json!({"kind": "contains_display_name"}),
        6 => {
            let prefix = random.pick(&["", "==", "<", ">", "<=", ">="]);
            json!({"kind": "room_member_count", "is": format!("{prefix}{}", random.below(4))})
        }
        7 => json!({"kind": "sender_notification_permission", "key": "room"}),
        _ => json!({"kind": "org.example.unknown", "x": 1}),
    }
}

fn actions(random: &mut Generator) -> Value {
    let all = [json!("notify"), json!({"set_tweak": "highlight"}), json!({"set_tweak": "sound", "value": "x"})];
    all.into_iter().filter(|_| random.one_in(2)).collect()
}

/// The user's own rules over the server-default ones.
fn rules(random: &mut Generator, owner: &UserId) -> push_rules::Ruleset {
    let mut own = json!({"override": [], "content": [], "room": [], "sender": [], "underride": []});
    for kind in ["override", "underride"] {
        for n in 0..random.below(3) {
            let conditions: Vec<_> = (0..random.below(3)).map(|_| condition(random)).collect();
            let rule = json!({
                "rule_id": format!("own{n}"), "conditions": conditions, "actions": actions(random),
                "enabled": !random.one_in(6), "default": false,
            });
            own[kind].as_array_mut().unwrap().push(rule);
        }
    }
    for n in 0..random.below(3) {
        let rule = json!({
            "rule_id": format!("own{n}"), "pattern": random.pick(PATTERNS), "actions": actions(random),
            "enabled": !random.one_in(6), "default": false,
        });
        own["content"].as_array_mut().unwrap().push(rule);
    }
    for (kind, id) in [("room", "!room:a"), ("room", "!other:a"), ("sender", "@bob:b")] {
        if random.one_in(3) {
            let rule = json!({"rule_id": id, "actions": actions(random), "enabled": true, "default": false});
            own[kind].as_array_mut().unwrap().push(rule);
        }
    }
    let own: UserRules = serde_json::from_value(own).unwrap();
    own.merge(if random.one_in(2) { default_ruleset(owner) } else { default_ruleset_with_legacy_mentions(owner) })
}

fn event(random: &mut Generator) -> Value {
    let types = ["m.room.message", "m.room.member", "m.room.encrypted", "m.reaction", "m.room.tombstone", "org.x"];
    let mut content = json!({"body": random.pick(BODIES)});
    for key in ["a", "n", "membership", "deep", "body"] {
        if random.one_in(3) {
            content[key] = value(random);
        }
    }
    if random.one_in(4) {
        content["membership"] = json!("invite");
    }
    if random.one_in(4) {
        content["m.x"] = json!({"y": value(random)});
    }
    if random.one_in(3) {
        content["m.mentions"] = json!({"user_ids": ["@alice:a"], "room": random.one_in(2)});
    } else if random.one_in(6) {
        content["m.mentions"] = json!({});
    }
    if random.one_in(5) {
        content["m.relates_to"] = json!({"rel_type": "m.replace"});
    }
    let mut event = json!({
        "type": random.pick(&types), "sender": "@bob:b", "room_id": "!room:a", "event_id": "$e", "content": content,
    });
    if random.one_in(3) {
        event["state_key"] = json!(random.pick(&["", "@alice:a", "cake"]));
    }
    event
}

/// Polls a future once: ruma's functions are asynchronous only for a condition that is not used here.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("waits for something"),
    }
}

fn ruma_match(rules: &push_rules::Ruleset, event: &Value, members: u64, level: i32) -> Option<(String, Value)> {
    let rules: Ruleset = serde_json::from_value(serde_json::to_value(rules).unwrap()).unwrap();
    let mut context = PushConditionRoomCtx::new(
        "!room:a".try_into().unwrap(),
        u32::try_from(members).unwrap().into(),
        "@alice:a".try_into().unwrap(),
        "Alice".to_owned(),
    );
    context.power_levels = Some(PushConditionPowerLevelsCtx::new(
        BTreeMap::from([("@bob:b".try_into().unwrap(), level.into())]),
        0.into(),
        NotificationPowerLevels::default(),
        RoomPowerLevelsRules::new(&crate::ruma_pdu::rules(RoomVersion::V11).authorization, []),
    ));
    let raw: Raw<Value> = Raw::from_json(RawValue::from_string(event.to_string()).unwrap());
    let found = ready(rules.get_match(&raw, &context))?;
    Some((found.rule_id().to_owned(), serde_json::to_value(found.actions()).unwrap()))
}

#[test]
fn push_rules_agree_with_ruma() {
    let owner: UserId = "@alice:a".parse().unwrap();
    let mut kinds = BTreeMap::<String, u64>::new();
    for seed in 0..crate::cases() {
        let mut random = Generator::new(seed);
        let rules = rules(&mut random, &owner);
        let compiled = CompiledRuleset::new(&rules, &owner);
        let event = event(&mut random);
        let members = random.below(4);
        let level = if random.one_in(2) { 50 } else { 49 };

        let content = Object::parse(&event["content"].to_string()).unwrap();
        let view = EventView {
            event_id: "$e",
            room_id: "!room:a",
            sender: "@bob:b",
            event_type: event["type"].as_str().unwrap(),
            state_key: event.get("state_key").and_then(Value::as_str),
            content: &content,
        };
        let levels = Object::parse(&format!(r#"{{"users":{{"@bob:b":{level}}}}}"#)).unwrap();
        let levels = PowerLevels::new(RoomVersion::V11.rules(), &[], Some(&levels));
        let room = RoomContext { member_count: members, power_levels: Some(&levels) };
        let who = Owner { user_id: &owner, display_name: Some("Alice"), thread_subscribed: None };
        let actions = compiled.evaluate(&view, &room, who);
        let ours = compiled.matching_rule(&view, &room, who);
        let ours = ours.map(|(_, id)| (id.to_owned(), serde_json::to_value(&actions.all).unwrap()));
        let theirs = ruma_match(&rules, &event, members, level);
        assert_eq!(ours, theirs, "seed {seed}: {event} against {}", serde_json::to_string(&rules).unwrap());
        if let Some(shared) = compiled.evaluate_for_all(&view, &room) {
            assert_eq!(shared, actions, "seed {seed}");
        }
        *kinds.entry(ours.map_or("none".to_owned(), |(id, _)| id)).or_default() += 1;
    }
    assert!(kinds.len() > 10, "{kinds:?}");
}
