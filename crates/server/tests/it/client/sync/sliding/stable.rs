//! The form of the accepted proposal.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{create, join, say};

const PATH: &str = "/_matrix/client/v4/sync";

async fn stable(server: &TestServer, user: &TestUser, body: Value) -> Value {
    server.post(PATH, &user.token, body).await.ok().clone()
}

fn body(timeline_limit: usize, pos: Option<&str>) -> Value {
    let state = json!({
        "include": [{}, { "type": "m.room.member", "state_key": "@alice:test.example" }],
        "exclude": [{ "type": "m.room.create" }, { "state_key": "", "type": "m.room.power_levels" }],
        "lazy_members": true,
    });
    let list = json!({ "range": [0, 9], "timeline_limit": timeline_limit, "required_state": state });
    let body = json!({ "conn_id": "a", "timeout": 0, "lists": { "all": list } });
    match pos {
        Some(pos) => [body, json!({ "pos": pos })].iter().fold(json!({}), |mut all, part| {
            all.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
            all
        }),
        None => body,
    }
}

/// The bodies of the messages in a room's timeline.
fn bodies(room: &Value) -> Vec<&str> {
    crate::client::bodies(&room["timeline_events"])
}

#[tokio::test]
async fn the_accepted_form_is_served() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({ "name": "Tea", "preset": "public_chat" })).await;
        join(&server, &bob, &room).await;
        for text in ["one", "two", "three"] {
            say(&server, &alice, &room, text).await;
        }
        let first = stable(&server, &bob, body(1, None)).await;
        let found = &first["rooms"][&room];
        assert_eq!((&found["name"], &found["membership"]), (&json!("Tea"), &json!("join")));
        assert_eq!((&found["lists"], &found["initial"]), (&json!(["all"]), &json!(true)));
        assert_eq!((&found["notification_count"], &found["highlight_count"]), (&json!(3), &json!(0)));
        let state = super::required(found);
        assert!(
            state.contains(&("m.room.join_rules", "")) && state.contains(&("m.room.member", "@alice:test.example"))
        );
        for absent in [("m.room.create", ""), ("m.room.power_levels", "")] {
            assert!(!state.contains(&absent));
        }
        let second = stable(&server, &bob, body(2, Some(super::pos(&first)))).await;
        assert_eq!(second["rooms"][&room]["expanded_timeline"], true);
        assert_eq!(bodies(&second["rooms"][&room]), ["two", "three"]);
        let invited = create(&server, &alice, json!({ "invite": [&bob.id] })).await;
        let third = stable(&server, &bob, body(2, Some(super::pos(&second)))).await;
        assert!(third["rooms"][&invited]["stripped_state"].is_array());
        assert_eq!(third["rooms"][&invited]["membership"], "invite");
        let mut filtered = body(0, None);
        filtered["lists"]["all"]["filters"] = json!({ "is_invited": true });
        assert_eq!(stable(&server, &bob, filtered).await["lists"]["all"]["count"], 1);
        let unknown = server.post(PATH, &bob.token, json!({ "pos": "nonsense" })).await;
        assert_eq!(unknown.refusal(), (400, "M_UNKNOWN_POS"));
    }
}

#[tokio::test]
async fn all_state_is_without_members_where_these_are_lazily_loaded() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = create(&server, &alice, json!({ "preset": "public_chat", "room_alias_name": "tea" })).await;
    join(&server, &bob, &room).await;
    say(&server, &bob, &room, "one").await;
    let state = json!({ "include": [{}], "lazy_members": true });
    let list = json!({ "range": [0, 9], "timeline_limit": 1, "required_state": state });
    let first = stable(&server, &bob, json!({ "lists": { "all": list } })).await;
    let found = &first["rooms"][&room];
    let state = super::required(found);
    assert!(state.contains(&("m.room.create", "")) && state.contains(&("m.room.member", &*bob.id)));
    assert!(!state.contains(&("m.room.member", &*alice.id)), "{state:?}");
    // An alias is no name.
    assert!(found["name"].is_null());
    assert_eq!(found["heroes"][0]["user_id"], alice.id);
}

#[tokio::test]
async fn the_accepted_form_allows_a_hundred_subscriptions() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let subscription = json!({ "timeline_limit": 1, "required_state": {} });
    let subscriptions =
        |count: usize| -> Value { (0..count).map(|number| (format!("!{number}:x"), subscription.clone())).collect() };
    stable(&server, &alice, json!({ "room_subscriptions": subscriptions(100) })).await;
    let refused = server.post(PATH, &alice.token, json!({ "room_subscriptions": subscriptions(101) })).await;
    assert_eq!(refused.refusal(), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn a_declined_invite_comes_as_stripped_state() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({ "invite": [&bob.id] })).await;
        let first = stable(&server, &bob, body(2, None)).await;
        assert_eq!(first["rooms"][&room]["membership"], "invite");
        server.post(&crate::client::room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        let second = stable(&server, &bob, body(2, Some(super::pos(&first)))).await;
        let found = &second["rooms"][&room];
        assert_eq!((&found["membership"], &found["timeline_events"]), (&json!("leave"), &Value::Null));
        assert!(found["required_state"].is_null(), "{found}");
        let state = found["stripped_state"].as_array().expect("stripped state");
        assert_eq!((state.len(), &state[0]["content"]["membership"]), (1, &json!("leave")));
        let third = stable(&server, &bob, body(9, Some(super::pos(&second)))).await;
        assert_eq!(third["rooms"], json!({}));
    }
}

#[tokio::test]
async fn threads_are_not_counted_with_the_room() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = crate::client::two_in_a_room(&server).await;
    let root = say(&server, &alice, &room, "root").await;
    let content = json!({
        "msgtype": "m.text", "body": "in the thread",
        "m.relates_to": { "rel_type": "m.thread", "event_id": &root },
    });
    crate::client::send(&server, &alice, &room, "m.room.message", content).await.ok();
    let first = stable(&server, &bob, body(2, None)).await;
    assert_eq!(first["rooms"][&room]["notification_count"], 1);
}

#[tokio::test]
async fn names_of_lists_are_opaque_identifiers() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let named = |name: String| {
        let list = json!({ "range": [0, 9], "timeline_limit": 0, "required_state": {} });
        server.post(PATH, &alice.token, json!({ "lists": { name: list } }))
    };
    for name in ["x".repeat(255), "aZ0-._~".to_owned()] {
        named(name).await.ok();
    }
    for name in ["x".repeat(256), String::new(), "a b".to_owned(), "ä".to_owned()] {
        assert_eq!(named(name).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
