//! Push rules: set, read and deleted.

use plexus_testkit::server::TestServer;
use plexus_testkit::{Client, unique_name};
use serde_json::{Value, json};

use crate::client::{CLIENT, event, next_batch, sync};

fn rule(kind: &str, id: &str) -> String {
    format!("{CLIENT}/pushrules/global/{kind}/{id}")
}

fn ids(rules: &Value) -> Vec<&str> {
    rules.as_array().expect("rules").iter().filter_map(|rule| rule["rule_id"].as_str()).collect()
}

#[tokio::test]
async fn rules_are_added_ordered_changed_and_deleted() {
    for server in TestServer::on_each().await {
        let bob = server.register("bob").await;
        let first = sync(&server, &bob, None, "").await;
        let body = json!({ "pattern": "cake", "actions": ["notify"] });
        server.put(&rule("content", "cake"), &bob.token, body.clone()).await.ok();
        server.put(&format!("{}?after=cake", rule("content", "tea")), &bob.token, body.clone()).await.ok();
        server.put(&format!("{}?before=cake", rule("content", "bread")), &bob.token, body.clone()).await.ok();
        let all = server.get(&format!("{CLIENT}/pushrules/"), &bob.token).await;
        assert_eq!(ids(&all.ok()["global"]["content"])[..3], ["bread", "cake", "tea"]);
        // Many clients leave the slash out.
        assert_eq!(server.get(&format!("{CLIENT}/pushrules"), &bob.token).await.ok(), all.ok());
        let global = server.get(&format!("{CLIENT}/pushrules/global"), &bob.token).await;
        assert_eq!(global.ok(), &all.ok()["global"]);
        let answer = sync(&server, &bob, Some(next_batch(&first)), "").await;
        assert!(event(&answer["account_data"], "m.push_rules").is_some());

        let enabled = format!("{}/enabled", rule("content", "cake"));
        assert_eq!(server.get(&enabled, &bob.token).await.ok(), &json!({ "enabled": true }));
        server.put(&enabled, &bob.token, json!({ "enabled": false })).await.ok();
        assert_eq!(server.get(&rule("content", "cake"), &bob.token).await.ok()["enabled"], false);
        let actions = format!("{}/actions", rule("override", ".m.rule.tombstone"));
        server.put(&actions, &bob.token, json!({ "actions": ["dont_notify"] })).await.ok();
        server.delete(&rule("content", "cake"), &bob.token).await.ok();
        assert_eq!(server.delete(&rule("content", "cake"), &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(server.get(&enabled, &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

/// The predefined rules, and what wrong rules and paths are answered: on Plexus, and on Synapse, which has them so.
pub(crate) async fn rules_are_as_synapse_has_them(client: &Client) {
    let bob = client.register(&format!("bob-{}", unique_name())).await;
    let localpart = bob.id.trim_start_matches('@').split(':').next().expect("a localpart");
    let fixture =
        include_str!("../../../data/push-rules.json").replace("{user}", &bob.id).replace("{localpart}", localpart);
    let expected: Value = serde_json::from_str(&fixture).expect("JSON");
    // The place for rules of MSC4306, which Synapse leaves empty.
    let specified = |rules: &Value| {
        let mut rules = rules.clone();
        rules.as_object_mut().expect("an object").remove("postcontent");
        rules
    };
    let rules = client.get(&format!("{CLIENT}/pushrules/"), &bob.token).await;
    assert_eq!(specified(&rules.ok()["global"]), expected["global"]);
    for kind in ["override", "content", "room", "sender", "underride"] {
        let of_kind = client.get(&format!("{CLIENT}/pushrules/global/{kind}/"), &bob.token).await;
        assert_eq!(of_kind.ok(), &expected["global"][kind]);
    }
    let global = client.get(&format!("{CLIENT}/pushrules/global/"), &bob.token).await;
    assert_eq!(specified(global.ok()), expected["global"]);
    let master = rule("override", ".m.rule.master");
    let get = async |path: &str| client.get(path, &bob.token).await;
    assert_eq!(get(&format!("{master}/enabled/")).await.ok(), &json!({ "enabled": false }));
    assert_eq!(get(&rule("override", "absent")).await.refusal(), (404, "M_NOT_FOUND"));
    let unrecognized = (400, "M_UNRECOGNIZED");
    for path in ["device/", "x", "global/override", "global/x", "global/x/", "global/x/y"] {
        assert_eq!(get(&format!("{CLIENT}/pushrules/{path}")).await.refusal(), unrecognized, "{path}");
    }
    assert_eq!(get(&format!("{master}/x")).await.refusal(), unrecognized);

    let put = async |path: &str, body: &Value| client.put(path, &bob.token, body.clone()).await;
    let body = json!({ "pattern": "cake", "actions": ["notify"] });
    let unknown = (400, "M_UNKNOWN");
    for action in [json!("explode"), json!(5), Value::Null, json!({ "x": 1 })] {
        let with = json!({ "pattern": "cake", "actions": [action] });
        assert_eq!(put(&rule("content", "x"), &with).await.refusal(), unknown, "{with}");
        let actions = format!("{}/actions", rule("override", ".m.rule.tombstone"));
        assert_eq!(put(&actions, &json!({ "actions": [action] })).await.refusal(), unknown, "{action}");
    }
    for (path, body, refusal) in [
        (rule("colour", "x"), &body, unknown),
        (rule("content", ".mine"), &body, unknown),
        (rule("content", "a%5Cb"), &body, unknown),
        (rule("content", ""), &body, unrecognized),
        (rule("content", "x/y"), &body, unrecognized),
        (format!("{CLIENT}/pushrules/device/content/x"), &body, unrecognized),
        (rule("content", "x"), &json!({ "actions": [] }), unknown),
        (rule("override", "x"), &json!({ "actions": [], "conditions": [{}] }), unknown),
        (format!("{}?before=absent", rule("content", "x")), &body, unknown),
        (format!("{}/enabled", rule("override", ".m.rule.absent")), &json!({ "enabled": true }), (404, "M_NOT_FOUND")),
    ] {
        assert_eq!(put(&path, body).await.refusal(), refusal, "{path} {body}");
    }
    for kind in ["colour", "content"] {
        assert_eq!(client.delete(&rule(kind, "x"), &bob.token).await.refusal(), (404, "M_NOT_FOUND"), "{kind}");
    }

    // What does nothing is kept as it was sent.
    let actions = json!(["dont_notify", "coalesce", { "set_tweak": "org.example" }]);
    put(&rule("room", "!a:b"), &json!({ "actions": actions })).await.ok();
    assert_eq!(get(&rule("room", "!a:b")).await.ok()["actions"], actions);
    put(&format!("{}/actions/", rule("override", ".m.rule.tombstone")), &json!({ "actions": actions })).await.ok();
    assert_eq!(get(&rule("override", ".m.rule.tombstone")).await.ok()["actions"], actions);
    put(&format!("{}/enabled", rule("room", "!a:b")), &json!(false)).await.ok();
    assert_eq!(get(&rule("room", "!a:b")).await.ok()["enabled"], false);
}

#[tokio::test]
async fn rules_and_refusals_are_synapses() {
    for server in TestServer::on_each().await {
        rules_are_as_synapse_has_them(&server).await;
    }
}

#[tokio::test]
async fn malformed_push_rules_are_refused() {
    for server in TestServer::on_each().await {
        let bob = server.register("bob").await;
        assert_eq!(server.put(&rule("room", "!a:b"), &bob.token, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
        for (path, body) in [
            (rule("room", "!a:b"), json!({ "actions": "x" })),
            (format!("{}/enabled", rule("override", ".m.rule.master")), json!({ "enabled": "x" })),
            (format!("{}/enabled", rule("override", ".m.rule.master")), json!([true])),
        ] {
            assert_eq!(server.put(&path, &bob.token, body).await.refusal(), (400, "M_BAD_JSON"), "{path}");
        }
    }
}

#[tokio::test]
async fn push_rules_have_limits() {
    let config = "push_rules: {limits: {rule_count: 2, rule_id_length: 30, rule_size: 100}}";
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(config).start().await;
        let alice = server.register("alice").await;
        let put = async |rule: &str, body: Value| {
            server.put(&format!("{CLIENT}/pushrules/global/override/{rule}"), &alice.token, body).await
        };
        let small = json!({ "actions": ["notify"], "conditions": [] });
        assert_eq!(put("a_rule_with_a_long_name", small.clone()).await.refusal(), (413, "M_UNKNOWN"));
        let long = json!({ "kind": "event_match", "key": "type", "pattern": "x".repeat(90) });
        assert_eq!(put("a", json!({ "actions": [], "conditions": [long] })).await.refusal(), (413, "M_UNKNOWN"));
        put("a", small.clone()).await.ok();
        put("b", small.clone()).await.ok();
        assert_eq!(put("c", small.clone()).await.refusal(), (400, "M_UNKNOWN"));
        put("a", json!({ "actions": [], "conditions": [] })).await.ok();
        let sound = json!({ "actions": ["notify", { "set_tweak": "sound", "value": "x".repeat(90) }] });
        assert_eq!(put("b/actions", sound.clone()).await.refusal(), (413, "M_UNKNOWN"));
        // The server's own rules are not counted, and may be given any actions.
        put(".m.rule.master/actions", sound).await.ok();
        server.delete(&format!("{CLIENT}/pushrules/global/override/a"), &alice.token).await.ok();
        put("c", small).await.ok();
    }
}
