use serde_json::json;

use super::*;
use crate::{id::UserId, json::Object, power_levels::PowerLevels, rules::RoomVersion};

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

fn levels(content: &str) -> PowerLevels {
    PowerLevels::new(RoomVersion::V11.rules(), &[], Some(&Object::parse(content).unwrap()))
}

/// An event evaluated for @alice:a, called "Alice", in a room with `members` members.
struct Case<'a> {
    event_type: &'a str,
    state_key: Option<&'a str>,
    content: &'a str,
    members: u64,
}

impl<'a> Case<'a> {
    fn message(content: &'a str) -> Self {
        Self { event_type: "m.room.message", state_key: None, content, members: 10 }
    }

    fn rule(&self, rules: &Ruleset) -> (Option<String>, Actions) {
        let alice = user("@alice:a");
        let compiled = CompiledRuleset::new(rules, &alice);
        let content = Object::parse(self.content).unwrap();
        let event = EventView {
            event_id: "$e",
            room_id: "!room:a",
            sender: "@bob:b",
            event_type: self.event_type,
            state_key: self.state_key,
            content: &content,
        };
        let levels = levels(r#"{"users":{"@bob:b":50}}"#);
        let room = RoomContext { member_count: self.members, power_levels: Some(&levels) };
        let owner = Owner { user_id: &alice, display_name: Some("Alice"), thread_subscribed: None };
        let actions = compiled.evaluate(&event, &room, owner).clone();
        if let Some(shared) = compiled.evaluate_for_all(&event, &room) {
            assert_eq!(*shared, actions, "shared evaluation differs");
        }
        (compiled.matching_rule(&event, &room, owner).map(|(_, id)| id.to_owned()), actions)
    }

    fn default_rule(&self) -> (Option<String>, Actions) {
        self.rule(&default_ruleset(&user("@alice:a")))
    }
}

/// Normalizes rules so that equal meaning is equal JSON: no explicit non-highlighting, and lists in one order.
fn meaning(mut rules: serde_json::Value) -> serde_json::Value {
    let sorted = |list: &mut serde_json::Value| {
        if let Some(list) = list.as_array_mut() {
            list.retain(|it| *it != json!({ "set_tweak": "highlight", "value": false }));
            list.sort_by_key(ToString::to_string);
        }
    };
    for kind in RuleKind::ALL {
        for rule in rules[kind.as_str()].as_array_mut().into_iter().flatten() {
            sorted(&mut rule["actions"]);
            sorted(&mut rule["conditions"]);
        }
    }
    rules
}

/// The server-default rules mean the same as those that the specification prints; their form is Synapse's.
#[test]
fn defaults_are_those_of_the_specification() {
    let expected: serde_json::Value = serde_json::from_str(include_str!("defaults_1.19.json")).unwrap();
    let actual = serde_json::to_value(default_ruleset(&user("@alice:example.org"))).unwrap();
    assert_eq!(
        serde_json::from_value::<Ruleset>(actual.clone()).unwrap(),
        default_ruleset(&user("@alice:example.org"))
    );
    assert_eq!(meaning(actual), meaning(expected));
}

#[test]
fn default_rules_match() {
    let message = Case::message;
    let of_type = |event_type, content| Case { event_type, ..Case::message(content) };
    let state =
        |event_type, state_key, content| Case { event_type, state_key: Some(state_key), ..Case::message(content) };
    let cases = [
        (message(r#"{"msgtype":"m.text","body":"hi"}"#), Some(".m.rule.message")),
        (message(r#"{"msgtype":"m.notice","body":"hi"}"#), Some(".m.rule.suppress_notices")),
        (Case { members: 2, ..message(r#"{"body":"hi"}"#) }, Some(".m.rule.room_one_to_one")),
        (of_type("m.room.encrypted", "{}"), Some(".m.rule.encrypted")),
        (Case { members: 2, ..of_type("m.room.encrypted", "{}") }, Some(".m.rule.encrypted_room_one_to_one")),
        (of_type("m.call.invite", "{}"), Some(".m.rule.call")),
        (of_type("m.reaction", "{}"), Some(".m.rule.reaction")),
        (of_type("org.example", "{}"), None),
        (message(r#"{"body":"x","m.mentions":{"user_ids":["@bob:b","@alice:a"]}}"#), Some(".m.rule.is_user_mention")),
        (message(r#"{"body":"@alice:a","m.mentions":{"user_ids":["@bob:b"]}}"#), Some(".m.rule.message")),
        (message(r#"{"body":"x","m.mentions":{"room":true}}"#), Some(".m.rule.is_room_mention")),
        (message(r#"{"body":"x","m.mentions":{"room":"true"}}"#), Some(".m.rule.message")),
        (message(r#"{"body":"* x","m.relates_to":{"rel_type":"m.replace"}}"#), Some(".m.rule.suppress_edits")),
        // An edit that mentions is a mention.
        (
            message(r#"{"m.mentions":{"user_ids":["@alice:a"]},"m.relates_to":{"rel_type":"m.replace"}}"#),
            Some(".m.rule.is_user_mention"),
        ),
        (state("m.room.member", "@alice:a", r#"{"membership":"invite"}"#), Some(".m.rule.invite_for_me")),
        (state("m.room.member", "@carol:c", r#"{"membership":"invite"}"#), Some(".m.rule.member_event")),
        (state("m.room.tombstone", "", "{}"), Some(".m.rule.tombstone")),
        (of_type("m.room.tombstone", "{}"), None),
        (state("m.room.server_acl", "", "{}"), Some(".m.rule.room.server_acl")),
    ];
    for (case, expected) in cases {
        assert_eq!(case.default_rule().0.as_deref(), expected, "{} {}", case.event_type, case.content);
    }
}

#[test]
fn actions() {
    let (_, mention) = Case::message(r#"{"m.mentions":{"user_ids":["@alice:a"]}}"#).default_rule();
    assert!(mention.notify && mention.highlight);
    assert_eq!(mention.sound.as_deref(), Some("default"));
    let (_, notice) = Case::message(r#"{"msgtype":"m.notice"}"#).default_rule();
    assert_eq!(notice, Actions::default());
    let rules: Ruleset = serde_json::from_value(json!({"underride": [{
        "rule_id": "x", "conditions": [],
        "actions": ["dont_notify", "coalesce", {"set_tweak": "highlight", "value": false}, {"org.new": 1}, "notify"],
    }]}))
    .unwrap();
    let (_, actions) = Case::message("{}").rule(&rules);
    assert!(actions.notify && !actions.highlight);
    assert_eq!(
        serde_json::to_value(&actions.all).unwrap(),
        json!(["dont_notify", "coalesce", {"set_tweak": "highlight", "value": false}, {"org.new": 1}, "notify"]),
    );
}

#[test]
fn conditions() {
    let cases = [
        (json!({"kind": "event_match", "key": "content.body", "pattern": "tea*"}), true),
        (json!({"kind": "event_match", "key": "content.topic", "pattern": "time"}), false),
        (json!({"kind": "event_match", "key": "content.topic", "pattern": "Tea T*"}), true),
        (json!({"kind": "event_match", "key": "content.missing", "pattern": "*"}), false),
        (json!({"kind": "event_match", "key": "content.n", "pattern": "*"}), false),
        (json!({"kind": "event_match", "key": "room_id", "pattern": "!room:a"}), true),
        (json!({"kind": "event_property_is", "key": "content.n", "value": 3}), true),
        (json!({"kind": "event_property_is", "key": "content.n", "value": "3"}), false),
        (json!({"kind": "event_property_is", "key": "content.null", "value": null}), true),
        (json!({"kind": "event_property_is", "key": "content.missing", "value": null}), false),
        (json!({"kind": "event_property_is", "key": "type", "value": "m.room.message"}), true),
        (json!({"kind": "event_property_is", "key": "content.list", "value": 1}), false),
        (json!({"kind": "event_property_contains", "key": "content.list", "value": 1}), true),
        (json!({"kind": "event_property_contains", "key": "content.list", "value": "one"}), false),
        (json!({"kind": "contains_display_name"}), true),
        (json!({"kind": "room_member_count", "is": "10"}), true),
        (json!({"kind": "room_member_count", "is": "==10"}), true),
        (json!({"kind": "room_member_count", "is": ">10"}), false),
        (json!({"kind": "room_member_count", "is": ">=10"}), true),
        (json!({"kind": "room_member_count", "is": "<10"}), false),
        (json!({"kind": "room_member_count", "is": "<=10"}), true),
        (json!({"kind": "room_member_count", "is": "~10"}), false),
        (json!({"kind": "room_member_count", "is": ">"}), false),
        (json!({"kind": "sender_notification_permission", "key": "room"}), true),
        (json!({"kind": "org.matrix.msc3931.room_version_supports", "feature": "x"}), false),
        (json!({"kind": "org.example.unknown"}), false),
        (json!({"kind": "event_match", "key": "content.body"}), false),
        (json!("nonsense"), false),
    ];
    for (condition, expected) in cases {
        let rules = json!({"override": [{"rule_id": "r", "conditions": [condition], "actions": ["notify"]}]});
        let rules: Ruleset = serde_json::from_value(rules).unwrap();
        let content = r#"{"body":"Tea, alice?","topic":"tea time","n":3,"null":null,"list":[{},1,true]}"#;
        assert_eq!(Case::message(content).rule(&rules).1.notify, expected, "{condition}");
        // Unknown parts are returned as they were written.
        assert_eq!(serde_json::to_value(&rules).unwrap()["override"][0]["conditions"][0], condition);
    }
}

#[test]
fn kinds_in_order() {
    let all = json!({
        "override": [{"rule_id": "o", "enabled": false, "conditions": [], "actions": []}],
        "content": [{"rule_id": "c", "pattern": "cake", "actions": []}],
        "room": [{"rule_id": "!room:a", "actions": []}],
        "sender": [{"rule_id": "@bob:b", "actions": []}],
        "underride": [{"rule_id": "u", "conditions": [], "actions": []}],
    });
    let mut rules: Ruleset = serde_json::from_value(all).unwrap();
    let matching = |rules: &Ruleset| Case::message(r#"{"body":"cake"}"#).rule(rules).0;
    assert_eq!(matching(&rules).as_deref(), Some("c"));
    rules.content.clear();
    assert_eq!(matching(&rules).as_deref(), Some("!room:a"));
    rules.room.clear();
    assert_eq!(matching(&rules).as_deref(), Some("@bob:b"));
    rules.sender.clear();
    assert_eq!(matching(&rules).as_deref(), Some("u"));
    rules.underride.clear();
    assert_eq!(matching(&rules), None);
}

#[test]
fn legacy_mentions_step_back_for_mentions() {
    let rules = default_ruleset_with_legacy_mentions(&user("@alice:a"));
    let matching = |content| Case::message(content).rule(&rules).0.unwrap();
    assert_eq!(matching(r#"{"body":"hey Alice!"}"#), ".m.rule.contains_display_name");
    assert_eq!(matching(r#"{"body":"hey Alice!","m.mentions":{}}"#), ".m.rule.message");
    assert_eq!(matching(r#"{"body":"@room"}"#), ".m.rule.roomnotif");
    let renamed = CompiledRuleset::new(&rules, &user("@alice:a"));
    let content = Object::parse(r#"{"body":"alice?"}"#).unwrap();
    let event = EventView {
        event_id: "$e",
        room_id: "!r:a",
        sender: "@bob:b",
        event_type: "m.room.message",
        state_key: None,
        content: &content,
    };
    let room = RoomContext { member_count: 3, power_levels: None };
    let alice = user("@alice:a");
    let owner = Owner { user_id: &alice, display_name: Some(""), thread_subscribed: None };
    assert_eq!(renamed.matching_rule(&event, &room, owner), Some((RuleKind::Content, ".m.rule.contains_user_name")));
    assert!(renamed.evaluate_for_all(&event, &room).is_none());
}

#[test]
fn subscriptions_decide_about_threads() {
    let (unsubscribed, subscribed) =
        (".io.element.msc4306.rule.unsubscribed_thread", ".io.element.msc4306.rule.subscribed_thread");
    let alice = user("@alice:a");
    let rules = Ruleset { postcontent: thread_subscription_rules(), ..default_ruleset(&alice) };
    let compiled = CompiledRuleset::new(&rules, &alice);
    let in_thread = r#"{"msgtype":"m.text","m.relates_to":{"rel_type":"m.thread","event_id":"$root"}}"#;
    let mention = r#"{"msgtype":"m.text","m.mentions":{"user_ids":["@alice:a"]},
        "m.relates_to":{"rel_type":"m.thread","event_id":"$root"}}"#;
    let reply = r#"{"msgtype":"m.text","m.relates_to":{"m.in_reply_to":{"event_id":"$root"}}}"#;
    for (content, thread_subscribed, expected) in [
        (in_thread, Some(true), subscribed),
        (in_thread, Some(false), unsubscribed),
        (in_thread, None, ".m.rule.message"),
        (mention, Some(false), ".m.rule.is_user_mention"),
        (reply, Some(true), ".m.rule.message"),
        (reply, Some(false), ".m.rule.message"),
    ] {
        let content = Object::parse(content).unwrap();
        let event = EventView {
            event_id: "$e",
            room_id: "!room:a",
            sender: "@bob:b",
            event_type: "m.room.message",
            state_key: None,
            content: &content,
        };
        let room = RoomContext { member_count: 10, power_levels: None };
        let owner = Owner { user_id: &alice, display_name: None, thread_subscribed };
        let rule = compiled.matching_rule(&event, &room, owner).map(|(_, id)| id);
        assert_eq!(rule, Some(expected), "{content:?} {thread_subscribed:?}");
        let is_shared = compiled.evaluate_for_all(&event, &room).is_some();
        assert_eq!(is_shared, expected == ".m.rule.message" && thread_subscribed.is_some(), "{content:?}");
    }
}

#[test]
fn facts_about_the_owner_are_needed_where_a_rule_asks_for_them() {
    let alice = user("@alice:a");
    let mut rules =
        Ruleset { postcontent: thread_subscription_rules(), ..default_ruleset_with_legacy_mentions(&alice) };
    let needed = |rules: &Ruleset, content: &str| {
        let content = Object::parse(content).unwrap();
        let event = EventView {
            event_id: "$e",
            room_id: "!room:a",
            sender: "@bob:b",
            event_type: "m.room.message",
            state_key: None,
            content: &content,
        };
        let room = RoomContext { member_count: 10, power_levels: None };
        let facts = CompiledRuleset::new(rules, &alice).owner_facts(&event, &room, &alice);
        (facts.display_name, facts.thread_subscribed)
    };
    let thread = r#""m.relates_to":{"rel_type":"m.thread","event_id":"$root"}"#;
    for (content, expected) in [
        (r#"{"body":"hello"}"#.to_owned(), (true, false)),
        (r#"{"body":"hello","m.mentions":{}}"#.to_owned(), (false, false)),
        (r#"{"msgtype":"m.image"}"#.to_owned(), (false, false)),
        (format!(r#"{{"body":"hello",{thread}}}"#), (true, true)),
        (format!(r#"{{"body":"hello","m.mentions":{{}},{thread}}}"#), (false, true)),
        // An earlier rule decides.
        (format!(r#"{{"body":"hello","m.mentions":{{"user_ids":["@alice:a"]}},{thread}}}"#), (false, false)),
        (format!(r#"{{"msgtype":"m.notice","body":"hello",{thread}}}"#), (false, false)),
    ] {
        assert_eq!(needed(&rules, &content), expected, "{content}");
    }
    rules.postcontent.clear();
    assert_eq!(needed(&rules, &format!(r#"{{"body":"hello",{thread}}}"#)), (true, false));
}

#[test]
fn users_with_the_same_rules_share_a_compiled_set() {
    let compiled = |id: &str| CompiledRuleset::new(&default_ruleset_with_legacy_mentions(&user(id)), &user(id));
    assert_eq!(compiled("@alice:a"), compiled("@bob:b"));
}

#[test]
fn user_changes() {
    let alice = user("@alice:a");
    let defaults = default_ruleset(&alice);
    let mut rules = UserRules::default();
    let new = |actions: serde_json::Value| -> NewRule { serde_json::from_value(json!({"actions": actions})).unwrap() };
    let put = |rules: &mut UserRules, id, placement| rules.put(RuleKind::Override, id, new(json!([])), placement);
    put(&mut rules, "one", Placement::Unspecified).unwrap();
    put(&mut rules, "two", Placement::Unspecified).unwrap();
    put(&mut rules, "three", Placement::After("two")).unwrap();
    put(&mut rules, "four", Placement::Before("one")).unwrap();
    let ids = |rules: &UserRules| -> Vec<String> {
        let merged = rules.merge(defaults.clone());
        merged.override_.iter().take(5).map(|rule| rule.rule_id.clone()).collect()
    };
    assert_eq!(ids(&rules), [".m.rule.master", "two", "three", "four", "one"]);
    rules.set_enabled(&defaults, RuleKind::Override, "one", false).unwrap();
    put(&mut rules, "one", Placement::Before("two")).unwrap();
    assert_eq!(ids(&rules), [".m.rule.master", "one", "two", "three", "four"]);
    assert!(!rules.merge(defaults.clone()).get(RuleKind::Override, "one").unwrap().enabled);
    rules.remove(RuleKind::Override, "two").unwrap();
    assert_eq!(rules.remove(RuleKind::Override, "two"), Err(UserRulesError::NotFound));
    assert_eq!(put(&mut rules, "x", Placement::After("two")), Err(UserRulesError::RelativeNotFound("two".to_owned())));
    assert!(matches!(put(&mut rules, ".x", Placement::Unspecified), Err(UserRulesError::InvalidRuleId(_))));
    assert!(matches!(put(&mut rules, "a/b", Placement::Unspecified), Err(UserRulesError::InvalidRuleId(_))));
    let content = rules.put(RuleKind::Content, "c", new(json!([])), Placement::Unspecified);
    assert_eq!(content, Err(UserRulesError::MissingPattern));

    // Server-default rules.
    rules.set_enabled(&defaults, RuleKind::Override, ".m.rule.master", true).unwrap();
    rules.set_actions(&defaults, RuleKind::Underride, ".m.rule.message", Vec::new()).unwrap();
    let unknown = rules.set_enabled(&defaults, RuleKind::Underride, ".m.rule.nope", true);
    assert_eq!(unknown, Err(UserRulesError::NotFound));
    let merged = rules.merge(defaults.clone());
    assert!(merged.get(RuleKind::Override, ".m.rule.master").unwrap().enabled);
    assert!(merged.get(RuleKind::Underride, ".m.rule.message").unwrap().actions.is_empty());

    let stored = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<UserRules>(&stored).unwrap(), rules);
}

#[test]
fn rules_about_a_room_are_copied_for_another() {
    let mut rules = UserRules::default();
    let sound = |name: &str| json!({ "set_tweak": "sound", "value": name });
    let mut put = |kind, id: &str, room: Option<&str>| {
        let condition = |room| json!({ "kind": "event_match", "key": "room_id", "pattern": room });
        let conditions: Vec<_> = room.into_iter().map(condition).collect();
        let new = serde_json::from_value(json!({ "actions": [sound(id)], "conditions": conditions })).unwrap();
        rules.put(kind, id, new, Placement::Unspecified).unwrap();
    };
    // Each new rule comes first.
    put(RuleKind::Override, "all", None);
    put(RuleKind::Override, "mute", Some("!old:x"));
    put(RuleKind::Override, "other", Some("!other:x"));
    put(RuleKind::Room, "!old:x", None);
    put(RuleKind::Sender, "!old:x", None);
    put(RuleKind::Underride, "quiet", Some("!old:x"));
    rules.set_enabled(&Ruleset::default(), RuleKind::Underride, "quiet", false).unwrap();
    assert!(rules.copy_for_room("!old:x", "!new:x"));
    let ids = |kind| -> Vec<&str> { rules.own_rules().rules(kind).iter().map(|rule| &*rule.rule_id).collect() };
    assert_eq!(ids(RuleKind::Override), ["other", "mute", "!new:x", "all"]);
    assert_eq!(ids(RuleKind::Room), ["!old:x", "!new:x"]);
    assert_eq!(ids(RuleKind::Sender), ["!old:x"]);
    assert_eq!(ids(RuleKind::Underride), ["quiet"], "a rule that is disabled is not copied");
    let copy = serde_json::to_value(rules.own_rules().get(RuleKind::Override, "!new:x")).unwrap();
    assert_eq!((&copy["conditions"][0]["pattern"], &copy["actions"]), (&json!("!new:x"), &json!([sound("mute")])));
    assert!(!rules.copy_for_room("!old:x", "!new:x"), "what there is stays as it is");
}
