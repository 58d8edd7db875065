//! Push rules, pushers, notifications.

use plexus_testkit::TestPlace;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use super::{CLIENT, event, next_batch, say, sync, two_in_a_room};

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

#[tokio::test]
async fn wrong_rules_are_refused() {
    let server = TestServer::sqlite().await;
    let bob = server.register("bob").await;
    let body = json!({ "pattern": "cake", "actions": ["notify"] });
    let put = async |path: &str, body: &Value| {
        let answer = server.put(path, &bob.token, body.clone()).await;
        let (status, errcode) = answer.refusal();
        (status, errcode.to_owned())
    };
    assert_eq!(put(&rule("colour", "x"), &body).await, (400, "M_INVALID_PARAM".into()));
    assert_eq!(put(&rule("content", ".mine"), &body).await, (400, "M_INVALID_PARAM".into()));
    assert_eq!(put(&rule("content", "x"), &json!({ "actions": [] })).await, (400, "M_MISSING_PARAM".into()));
    assert_eq!(put(&rule("room", "x"), &json!({})).await.0, 400);
    let relative = format!("{}?before=absent", rule("content", "x"));
    assert_eq!(put(&relative, &body).await, (400, "M_INVALID_PARAM".into()));
    let enabled = format!("{}/enabled", rule("override", "absent"));
    assert_eq!(put(&enabled, &json!({ "enabled": true })).await, (404, "M_NOT_FOUND".into()));
}

#[tokio::test]
async fn pushers_are_set_and_listed() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (set, list) = (format!("{CLIENT}/pushers/set"), format!("{CLIENT}/pushers"));
        let pusher = json!({
            "app_id": "app", "pushkey": "key", "kind": "http", "app_display_name": "App",
            "device_display_name": "Phone", "lang": "en",
            "data": { "url": "https://push.example/_matrix/push/v1/notify" },
        });
        server.post(&set, &bob.token, pusher.clone()).await.ok();
        assert_eq!(server.get(&list, &bob.token).await.ok(), &json!({ "pushers": [pusher] }));
        server.post(&set, &alice.token, pusher.clone()).await.ok();
        assert_eq!(server.get(&list, &bob.token).await.ok(), &json!({ "pushers": [] }));
        let delete = json!({ "app_id": "app", "pushkey": "key", "kind": null });
        server.post(&set, &alice.token, delete).await.ok();
        assert_eq!(server.get(&list, &alice.token).await.ok(), &json!({ "pushers": [] }));
        let mut wrong = pusher;
        wrong["data"]["url"] = json!("https://push.example/elsewhere");
        assert_eq!(server.post(&set, &bob.token, wrong).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}

#[tokio::test]
async fn notifications_are_listed_newest_first() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let first = say(&server, &alice, &room, "one").await;
        let second = say(&server, &alice, &room, "hello bob").await;
        let receipt = format!("{CLIENT}/rooms/{room}/receipt/m.read/{first}");
        server.post(&receipt, &bob.token, json!({})).await.ok();
        let list = format!("{CLIENT}/notifications");
        let answer = server.get(&format!("{list}?limit=1"), &bob.token).await;
        let newest = &answer.ok()["notifications"][0];
        assert_eq!(newest["event"]["event_id"], second.as_str());
        assert_eq!(newest["room_id"], room.as_str());
        assert_eq!(newest["read"], false);
        let from = answer.ok()["next_token"].as_str().expect("there is more");
        let older = server.get(&format!("{list}?from={from}"), &bob.token).await;
        assert_eq!(older.ok()["notifications"][0]["event"]["event_id"], first.as_str());
        assert_eq!(older.ok()["notifications"][0]["read"], true);
        let highlights = server.get(&format!("{list}?only=highlight"), &bob.token).await;
        assert_eq!(highlights.ok()["notifications"].as_array().map(Vec::len), Some(1));
        assert!(server.get(&list, &alice.token).await.ok()["notifications"].as_array().is_some_and(Vec::is_empty));
    }
}

#[tokio::test]
async fn push_rules_have_limits() {
    let config = "push_rules: {limits: {rule_count: 2, rule_id_length: 30, rule_size: 100}}";
    let server = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let alice = server.register("alice").await;
    let put = async |rule: &str, body: serde_json::Value| {
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
