//! Values that would break rooms or clients are refused when a user of this server sends them, in whatever way.

use plexus_testkit::{Answer, Client, TestServer, TestUser, unique_name};
use serde_json::{Value, json};

const CLIENT: &str = "/_matrix/client/v3";

const BAD_JSON: (u16, &str) = (400, "M_BAD_JSON");

const UNKNOWN: (u16, &str) = (400, "M_UNKNOWN");

const INVALID_PARAM: (u16, &str) = (400, "M_INVALID_PARAM");

/// Types and contents of state events, and how they are refused in rooms of every version.
fn refused_state() -> Vec<(&'static str, Value, (u16, &'static str))> {
    let levels = [
        json!({ "ban": "50" }),
        json!({ "users_default": null }),
        json!({ "kick": true }),
        json!({ "redact": [] }),
        json!({ "invite": 50.5 }),
        json!({ "state_default": 9_007_199_254_740_992_i64 }),
        json!({ "users": [] }),
        json!({ "users": { "@b:example.org": "50" } }),
        json!({ "events": null }),
        json!({ "events": { "m.room.name": null } }),
        json!({ "notifications": "x" }),
        json!({ "notifications": { "room": "20" } }),
    ];
    let mut cases: Vec<_> = levels.into_iter().map(|content| ("m.room.power_levels", content, BAD_JSON)).collect();
    cases.extend([
        ("m.room.server_acl", json!({}), UNKNOWN),
        ("m.room.server_acl", json!({ "allow": "*" }), UNKNOWN),
        ("m.room.server_acl", json!({ "allow": ["other.example"] }), UNKNOWN),
        ("m.room.server_acl", json!({ "allow": ["*"], "deny": ["*"] }), UNKNOWN),
        ("m.room.canonical_alias", json!({ "alias": 5 }), INVALID_PARAM),
        ("m.room.canonical_alias", json!({ "alt_aliases": "x" }), INVALID_PARAM),
        ("m.room.canonical_alias", json!({ "alt_aliases": null }), INVALID_PARAM),
        ("m.room.canonical_alias", json!({ "alt_aliases": [5] }), INVALID_PARAM),
        ("m.room.tombstone", json!({}), UNKNOWN),
        ("m.room.name", json!({}), UNKNOWN),
        ("m.room.name", json!({ "name": null }), UNKNOWN),
        ("m.room.topic", json!({ "topic": 5 }), UNKNOWN),
        ("m.room.retention", json!({ "max_lifetime": "x" }), BAD_JSON),
        ("m.room.retention", json!({ "min_lifetime": true }), BAD_JSON),
        ("m.room.retention", json!({ "min_lifetime": 2, "max_lifetime": 1 }), BAD_JSON),
        ("m.room.create", json!({ "room_version": "9" }), INVALID_PARAM),
        ("org.example", json!({ "m.mentions": "x" }), BAD_JSON),
        ("org.example", json!({ "m.mentions": { "room": "yes" } }), BAD_JSON),
    ]);
    cases
}

/// The same for message events.
fn refused_messages() -> Vec<(&'static str, Value, (u16, &'static str))> {
    vec![
        ("m.room.message", json!({}), UNKNOWN),
        ("m.room.message", json!({ "body": "x" }), UNKNOWN),
        ("m.room.message", json!({ "msgtype": "m.text", "body": 5 }), UNKNOWN),
        ("m.room.message", json!({ "msgtype": "m.text", "body": "x", "m.mentions": [] }), BAD_JSON),
        ("m.room.name", json!({ "name": "x" }), UNKNOWN),
        ("m.room.topic", json!({ "topic": "x" }), UNKNOWN),
        ("m.room.tombstone", json!({ "replacement_room": "!x:y" }), UNKNOWN),
        ("m.room.retention", json!({}), UNKNOWN),
        ("m.room.server_acl", json!({}), UNKNOWN),
    ]
}

/// What has been taken for valid: contents that are odd, but that Synapse lets pass.
fn accepted_state() -> Vec<(&'static str, Value)> {
    vec![
        ("m.room.canonical_alias", json!({ "alias": null })),
        ("m.room.server_acl", json!({ "allow": ["*", 1], "deny": "x" })),
        ("m.room.name", json!({ "name": "" })),
        ("m.room.retention", json!({ "max_lifetime": null })),
        ("m.room.join_rules", json!({ "join_rule": "nobody knows this" })),
        ("m.room.history_visibility", json!({})),
        ("m.room.guest_access", json!({ "guest_access": 5 })),
        ("m.room.encryption", json!({ "algorithm": 5 })),
        ("m.room.avatar", json!({ "url": 5 })),
        ("m.room.tombstone", json!({ "replacement_room": 5 })),
        ("org.example", json!({ "m.mentions": { "user_ids": [], "room": true }, "m.relates_to": "x" })),
    ]
}

fn expect(answer: &Answer, expected: (u16, &str), what: &str) {
    assert_eq!(
        (answer.status, answer.body["errcode"].as_str().unwrap_or_default()),
        expected,
        "{what}: {}",
        answer.body
    );
}

async fn room(client: &Client, user: &TestUser, options: Value) -> String {
    let answer = client.post(&format!("{CLIENT}/createRoom"), &user.token, options).await;
    answer.ok()["room_id"].as_str().expect("a room").to_owned()
}

async fn set(client: &Client, user: &TestUser, room: &str, event_type: &str, content: &Value) -> Answer {
    client.put(&format!("{CLIENT}/rooms/{room}/state/{event_type}"), &user.token, content.clone()).await
}

async fn send(client: &Client, user: &TestUser, room: &str, event_type: &str, content: &Value) -> Answer {
    let path = format!("{CLIENT}/rooms/{room}/send/{event_type}/{}", unique_name());
    client.put(&path, &user.token, content.clone()).await
}

/// Tries everything on a server: what is said of Plexus here is so of Synapse.
pub(crate) async fn values_are_refused(client: &Client) {
    let user = client.register(&format!("alice-{}", unique_name())).await;
    for version in ["5", "9", "10", "12"] {
        let room = room(client, &user, json!({ "room_version": version })).await;
        for (event_type, content, expected) in refused_state() {
            let what = format!("{event_type} {content} in version {version}");
            expect(&set(client, &user, &room, event_type, &content).await, expected, &what);
            let state = json!([{ "type": event_type, "state_key": "", "content": content }]);
            let options = json!({ "room_version": version, "initial_state": state });
            let created = client.post(&format!("{CLIENT}/createRoom"), &user.token, options).await;
            expect(&created, expected, &format!("initial {what}"));
            // Of `users`, Synapse looks first whether the creator is among them.
            if event_type == "m.room.power_levels" && content.get("users").is_none() {
                let options = json!({ "room_version": version, "power_level_content_override": content });
                let created = client.post(&format!("{CLIENT}/createRoom"), &user.token, options).await;
                expect(&created, expected, &format!("override {what}"));
            }
        }
        for (event_type, content, expected) in refused_messages() {
            let what = format!("message {event_type} {content} in version {version}");
            expect(&send(client, &user, &room, event_type, &content).await, expected, &what);
        }
        let itself = json!({ "replacement_room": room });
        expect(&set(client, &user, &room, "m.room.tombstone", &itself).await, UNKNOWN, "replaced by itself");
        let no_user = json!({ "users": { "bob": 1 } });
        expect(&set(client, &user, &room, "m.room.power_levels", &no_user).await, UNKNOWN, "a user that is none");
        for (event_type, content) in accepted_state() {
            set(client, &user, &room, event_type, &content).await.ok();
        }
    }
    let newest = room(client, &user, json!({ "room_version": "12" })).await;
    let creator = json!({ "users": { &*user.id: 100 } });
    expect(&set(client, &user, &newest, "m.room.power_levels", &creator).await, UNKNOWN, "the creator's level");
    let junk = client.post(&format!("{CLIENT}/createRoom"), &user.token, json!({ "preset": "x" })).await;
    expect(&junk, BAD_JSON, "a preset that is none");
}

/// Relations to what is not there, and receipts in threads that do not hold the event.
pub(crate) async fn relations_and_threads(client: &Client) {
    let user = client.register(&format!("alice-{}", unique_name())).await;
    let [here, elsewhere] = [room(client, &user, json!({})).await, room(client, &user, json!({})).await];
    let text = json!({ "msgtype": "m.text", "body": "x" });
    let related = |relation: Value| json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
    let said = async |room: &str, content: &Value| {
        let answer = send(client, &user, room, "m.room.message", content).await;
        answer.ok()["event_id"].as_str().expect("an event").to_owned()
    };
    let [root, plain, other] = [said(&here, &text).await, said(&here, &text).await, said(&elsewhere, &text).await];
    let unknown = format!("${}", "A".repeat(43));
    for relation in [
        json!({ "rel_type": "m.reference", "event_id": unknown }),
        json!({ "rel_type": "m.thread", "event_id": unknown }),
        json!({ "rel_type": "m.reference", "event_id": "junk" }),
        json!({ "rel_type": "m.reference", "event_id": other }),
        json!({ "rel_type": "m.annotation", "event_id": root }),
        json!({ "rel_type": "m.annotation", "event_id": root, "key": 5 }),
    ] {
        let what = relation.to_string();
        expect(&send(client, &user, &here, "m.room.message", &related(relation)).await, UNKNOWN, &what);
    }
    said(&here, &related(json!({ "m.in_reply_to": { "event_id": unknown } }))).await;

    let thread = said(&here, &related(json!({ "rel_type": "m.thread", "event_id": root }))).await;
    let reaction = said(&here, &related(json!({ "rel_type": "m.annotation", "event_id": thread, "key": "+" }))).await;
    let reference = said(&here, &related(json!({ "rel_type": "m.reference", "event_id": root }))).await;
    let receipt = async |event: &str, thread: &Value| {
        let path = format!("{CLIENT}/rooms/{here}/receipt/m.read/{event}");
        client.post(&path, &user.token, json!({ "thread_id": thread })).await
    };
    for (event, id) in [
        (&root, &root),
        (&thread, &root),
        (&reaction, &root),
        (&reference, &root),
        (&root, &"main".to_owned()),
        (&reference, &"main".to_owned()),
        (&plain, &"main".to_owned()),
        (&unknown, &"main".to_owned()),
    ] {
        receipt(event, &json!(id)).await.ok();
    }
    for (event, id) in [
        (&thread, json!("main")),
        (&reaction, json!("main")),
        (&plain, json!(root)),
        (&plain, json!(plain)),
        (&unknown, json!(root)),
        (&plain, json!("junk")),
        (&plain, json!("")),
        (&plain, json!(5)),
        (&plain, Value::Null),
    ] {
        expect(&receipt(event, &id).await, INVALID_PARAM, &format!("{event} in thread {id}"));
    }
}

#[tokio::test]
async fn values_that_break_rooms_are_refused() {
    for server in TestServer::on_each().await {
        values_are_refused(&server).await;
    }
}

#[tokio::test]
async fn relations_and_receipts_need_what_they_name() {
    for server in TestServer::on_each().await {
        relations_and_threads(&server).await;
    }
}
