//! `PUT /rooms/{room_id}/redact/{event_id}/{txn_id}`, `POST /rooms/{room_id}/redact/{event_id}`.

use std::time::Duration;

use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{every, within};
use serde_json::{Value, json};

use crate::admin::register_admin;
use crate::client::{create, join, on_each_with, room_path, say, send, two_in_a_room};

#[tokio::test(flavor = "multi_thread")]
async fn redaction_by_endpoint_and_as_an_event() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for version in ["10", "12"] {
        let room = create(&server, &alice, json!({ "preset": "public_chat", "room_version": version })).await;
        join(&server, &bob, &room).await;
        let (one, two) = (say(&server, &bob, &room, "one").await, say(&server, &bob, &room, "two").await);
        let mine = say(&server, &alice, &room, "mine").await;
        let refused = server.put(&room_path(&room, &format!("redact/{mine}/1")), &bob.token, json!({})).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
        let redact = room_path(&room, &format!("redact/{one}/2"));
        let redaction = server.put(&redact, &alice.token, json!({ "reason": "spam" })).await;
        let redaction = redaction.ok()["event_id"].clone();
        send(&server, &bob, &room, "m.room.redaction", json!({ "redacts": two })).await.ok();
        for id in [&one, &two] {
            let event = server.get(&room_path(&room, &format!("event/{id}")), &alice.token).await;
            assert_eq!(event.ok()["content"], json!({}));
            assert_eq!(event.body["unsigned"]["redacted_because"]["type"], "m.room.redaction");
            assert_eq!(event.body["unsigned"]["redacted_because"]["redacts"], json!(id));
        }
        let redaction = redaction.as_str().unwrap_or_default();
        let event = server.get(&room_path(&room, &format!("event/{redaction}")), &bob.token).await;
        assert_eq!(event.ok()["content"]["reason"], "spam");
        let nothing = send(&server, &bob, &room, "m.room.redaction", json!({})).await;
        assert_eq!(nothing.refusal(), (400, "M_MISSING_PARAM"));
    }
}

/// Other servers redact by it, and look only at whether the sender is of the same server as what is redacted.
#[tokio::test(flavor = "multi_thread")]
async fn a_redaction_with_a_state_key_is_a_redaction() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let levels = json!({ "state_default": 0 });
        let body = json!({ "preset": "public_chat", "room_version": "11", "power_level_content_override": levels });
        let room = create(&server, &alice, body).await;
        join(&server, &bob, &room).await;
        let (hers, his) = (say(&server, &alice, &room, "hers").await, say(&server, &bob, &room, "his").await);
        let redact = async |id: &str| {
            server.put(&room_path(&room, "state/m.room.redaction/x"), &bob.token, json!({ "redacts": id })).await
        };
        assert_eq!(redact(&hers).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(redact("nothing").await.refusal(), (400, "M_MISSING_PARAM"));
        redact(&his).await.ok();
        let content = async |id: &str| {
            server.get(&room_path(&room, &format!("event/{id}")), &alice.token).await.ok()["content"].clone()
        };
        assert_eq!((&content(&hers).await["body"], content(&his).await), (&json!("hers"), json!({})));
    }
}

/// Sends a reply in a thread, and a reaction, to an event; returns their ids.
async fn relate(server: &TestServer, user: &TestUser, room: &str, root: &str) -> [String; 2] {
    let thread = json!({ "rel_type": "m.thread", "event_id": root });
    let reply = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": thread });
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": root, "key": "+" } });
    let mut ids = Vec::new();
    for (event_type, content) in [("m.room.message", reply), ("m.reaction", reaction)] {
        let sent = send(server, user, room, event_type, content).await;
        ids.push(sent.ok()["event_id"].as_str().expect("an id").to_owned());
    }
    ids.try_into().expect("two events")
}

async fn is_redacted(server: &TestServer, user: &TestUser, room: &str, event_id: &str) -> bool {
    let event = server.get(&room_path(room, &format!("event/{event_id}")), &user.token).await;
    event.ok()["unsigned"]["redacted_because"].is_object()
}

/// Waits until an event has been redacted.
async fn redacted(server: &TestServer, user: &TestUser, room: &str, event_id: &str) {
    let mut looks = every(Duration::from_millis(50));
    let found = async {
        while !is_redacted(server, user, room, event_id).await {
            looks.tick().await;
        }
    };
    within(Duration::from_secs(60), found).await.expect("it is redacted");
}

const WITH_RELATIONS: &str = "org.matrix.msc3912.with_relations";

#[tokio::test(flavor = "multi_thread")]
async fn related_events_are_redacted_too() {
    for server in on_each_with("experimental_features: {msc3912_enabled: true}").await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let versions = server.get("/_matrix/client/versions", &alice.token).await;
        assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc3912"], true);
        let roots = [say(&server, &bob, &room, "one").await, say(&server, &bob, &room, "two").await];
        let [his_reply, his_reaction] = relate(&server, &bob, &room, &roots[0]).await;
        let [her_reply, her_reaction] = relate(&server, &alice, &room, &roots[0]).await;
        let redact = |root: &str, txn: &str| room_path(&room, &format!("redact/{root}/{txn}"));
        // Bob may redact only what is his.
        let body = json!({ "reason": "mistake", "more": "m".repeat(20_000), WITH_RELATIONS: ["m.annotation"] });
        let redaction = server.put(&redact(&roots[0], "1"), &bob.token, body.clone()).await;
        redacted(&server, &bob, &room, &his_reaction).await;
        let event = server.get(&room_path(&room, &format!("event/{his_reaction}")), &bob.token).await;
        let because = &event.ok()["unsigned"]["redacted_because"];
        assert_eq!((&because["content"]["reason"], &because["sender"]), (&json!("mistake"), &json!(bob.id)));
        assert!(because["content"]["more"].is_null(), "only the reason is repeated");
        assert_eq!(because["content"][WITH_RELATIONS], Value::Null);
        // A repeated request has the same response, and redacts nothing again.
        let again = server.put(&redact(&roots[0], "1"), &bob.token, body).await;
        assert_eq!(again.ok(), redaction.ok());
        for id in [&his_reply, &her_reply, &her_reaction] {
            assert!(!is_redacted(&server, &bob, &room, id).await, "{id}");
        }
        // Alice, who created the room, may redact everything.
        let body = json!({ WITH_RELATIONS: ["*"] });
        server.put(&redact(&roots[0], "2"), &alice.token, body).await.ok();
        for id in [&his_reply, &her_reply, &her_reaction] {
            redacted(&server, &alice, &room, id).await;
        }
        for wrong in [json!("m.thread"), json!([1]), json!(vec!["m.thread"; 17]), json!(["x".repeat(256)])] {
            let refused = server.put(&redact(&roots[1], "3"), &bob.token, json!({ WITH_RELATIONS: wrong })).await;
            assert_eq!(refused.refusal(), (400, "M_INVALID_PARAM"));
        }
        assert!(!is_redacted(&server, &bob, &room, &roots[1]).await);
        // A suspended user redacts the own event alone.
        let admin = register_admin(&server).await;
        let suspend = format!("/_matrix/client/v1/admin/suspend/{}", bob.id);
        server.put(&suspend, &admin, json!({ "suspended": true })).await.ok();
        let refused = server.put(&redact(&roots[1], "4"), &bob.token, json!({ WITH_RELATIONS: ["*"] })).await;
        assert_eq!(refused.refusal(), (403, "M_USER_SUSPENDED"));
        server.put(&redact(&roots[1], "5"), &bob.token, json!({})).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_related_events_than_are_read_at_a_time_are_redacted() {
    let server = on_each_with("experimental_features: {msc3912_enabled: true}").await.remove(0);
    let (alice, _, room) = two_in_a_room(&server).await;
    let root = say(&server, &alice, &room, "root").await;
    let mut replies = Vec::new();
    for _ in 0..103 {
        let thread = json!({ "rel_type": "m.thread", "event_id": root });
        let reply = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": thread });
        let sent = send(&server, &alice, &room, "m.room.message", reply).await;
        replies.push(sent.ok()["event_id"].as_str().expect("an id").to_owned());
    }
    let path = room_path(&room, &format!("redact/{root}/1"));
    server.put(&path, &alice.token, json!({ WITH_RELATIONS: ["m.thread"] })).await.ok();
    for reply in &replies {
        redacted(&server, &alice, &room, reply).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_not_limited_and_schedules_nothing_again() {
    let config = "experimental_features: {msc3912_enabled: true}\nrc_message: {per_second: 0.0001, burst_count: 4}";
    for server in on_each_with(config).await {
        let alice = server.register("alice").await;
        let room = create(&server, &alice, json!({})).await;
        let root = say(&server, &alice, &room, "root").await;
        let [_, reaction] = relate(&server, &alice, &room, &root).await;
        let path = room_path(&room, &format!("redact/{root}/1"));
        let body = json!({ WITH_RELATIONS: ["m.annotation"] });
        let redaction = server.put(&path, &alice.token, body.clone()).await;
        let too_many = send(&server, &alice, &room, "m.room.message", json!({})).await;
        assert_eq!(too_many.refusal(), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(server.put(&path, &alice.token, body.clone()).await.ok(), redaction.ok());
        redacted(&server, &alice, &room, &reaction).await;
        assert_eq!(server.put(&path, &alice.token, body).await.ok(), redaction.ok());
        let admin = register_admin(&server).await;
        let tasks = "/_synapse/admin/v1/scheduled_tasks?action_name=redact_related_events";
        let tasks = server.get(tasks, &admin).await;
        assert_eq!(tasks.ok()["scheduled_tasks"].as_array().map(Vec::len), Some(1), "{}", tasks.body);
    }
}
