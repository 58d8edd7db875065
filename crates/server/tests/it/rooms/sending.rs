use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Query;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::StatusCode;
use parking_lot::Mutex;
use plexus_protocol::id::ServerName;
use plexus_testkit::Peer;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_answered_twice_and_made_once() {
    for mut server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let content = json!({ "msgtype": "m.text", "body": "once" });
        let send = path(&room, "send/m.room.message/1");
        let first = server.put(&send, &alice.token, content.clone()).await.ok()["event_id"].clone();
        assert_eq!(server.put(&send, &alice.token, content.clone()).await.ok()["event_id"], first);
        server.restart().await;
        assert_eq!(server.put(&send, &alice.token, content).await.ok()["event_id"], first);
        let answer = server.get(&path(&room, "messages?dir=b&limit=100"), &alice.token).await;
        assert_eq!(bodies(&answer.ok()["chunk"]), ["once"]);
        let event = &answer.body["chunk"][0];
        assert_eq!(event["unsigned"]["transaction_id"], "1");
        assert_eq!(event["unsigned"]["membership"], "join");
        assert!(event["unsigned"]["age"].is_number());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_id_belongs_to_its_device_and_room() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let phone = server.log_in("alice").await;
        let (room, other) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        let content = json!({ "msgtype": "m.text", "body": "each" });
        let long = "x".repeat(255);
        for id in ["1", "%F0%9F%98%80", long.as_str()] {
            let mut made = Vec::new();
            for (token, room) in [(&alice.token, &room), (&phone.token, &room), (&alice.token, &other)] {
                let send = path(room, &format!("send/m.room.message/{id}"));
                let event = server.put(&send, token, content.clone()).await.ok()["event_id"].clone();
                assert!(!made.contains(&event));
                made.push(event);
            }
        }
        let too_long = path(&room, &format!("send/m.room.message/{long}x"));
        assert_eq!(server.put(&too_long, &alice.token, content).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redaction_by_endpoint_and_as_an_event() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for version in ["10", "12"] {
        let room = create(&server, &alice, json!({ "preset": "public_chat", "room_version": version })).await;
        join(&server, &bob, &room).await;
        let (one, two) = (say(&server, &bob, &room, "one").await, say(&server, &bob, &room, "two").await);
        let mine = say(&server, &alice, &room, "mine").await;
        let refused = server.put(&path(&room, &format!("redact/{mine}/1")), &bob.token, json!({})).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
        let redact = path(&room, &format!("redact/{one}/2"));
        let redaction = server.put(&redact, &alice.token, json!({ "reason": "spam" })).await;
        let redaction = redaction.ok()["event_id"].clone();
        send(&server, &bob, &room, "m.room.redaction", json!({ "redacts": two })).await.ok();
        for id in [&one, &two] {
            let event = server.get(&path(&room, &format!("event/{id}")), &alice.token).await;
            assert_eq!(event.ok()["content"], json!({}));
            assert_eq!(event.body["unsigned"]["redacted_because"]["type"], "m.room.redaction");
            assert_eq!(event.body["unsigned"]["redacted_because"]["redacts"], json!(id));
        }
        let redaction = redaction.as_str().unwrap_or_default();
        let event = server.get(&path(&room, &format!("event/{redaction}")), &bob.token).await;
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
            server.put(&path(&room, "state/m.room.redaction/x"), &bob.token, json!({ "redacts": id })).await
        };
        assert_eq!(redact(&hers).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(redact("nothing").await.refusal(), (400, "M_MISSING_PARAM"));
        redact(&his).await.ok();
        let content = async |id: &str| {
            server.get(&path(&room, &format!("event/{id}")), &alice.token).await.ok()["content"].clone()
        };
        assert_eq!((&content(&hers).await["body"], content(&his).await), (&json!("hers"), json!({})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_events() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    let put = |token: String, key: &'static str, content: Value| {
        let (server, path) = (&server, path(&room, &format!("state/{key}")));
        async move { server.put(&path, &token, content).await }
    };
    let topic = put(alice.token.clone(), "m.room.topic", json!({ "topic": "a" })).await;
    let same = put(alice.token.clone(), "m.room.topic/", json!({ "topic": "a" })).await;
    assert_eq!(topic.ok()["event_id"], same.ok()["event_id"]);
    put(alice.token.clone(), "m.room.topic", json!({ "topic": "b" })).await.ok();
    let event = server.get(&path(&room, "state/m.room.topic?format=event"), &alice.token).await;
    assert_eq!(event.ok()["content"]["topic"], "b");
    assert_eq!(event.body["unsigned"]["prev_content"]["topic"], "a");
    assert_eq!(event.body["unsigned"]["replaces_state"], topic.body["event_id"]);
    put(alice.token.clone(), "org.example.thing/a%2Fb", json!({ "n": 9_007_199_254_740_991_i64 })).await.ok();
    assert_eq!(state(&server, &alice, &room, "org.example.thing/a%2Fb").await.ok()["n"], 9_007_199_254_740_991_i64);
    assert_eq!(state(&server, &alice, &room, "m.room.avatar").await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(state(&server, &bob, &room, "m.room.topic").await.refusal(), (403, "M_FORBIDDEN"));
    join(&server, &bob, &room).await;
    let refused = put(bob.token.clone(), "m.room.topic", json!({ "topic": "c" })).await;
    assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
    let alias = put(alice.token.clone(), "m.room.canonical_alias", json!({ "alias": "#no:test.example" })).await;
    assert_eq!(alias.refusal(), (400, "M_BAD_ALIAS"));
    let alias = put(alice.token.clone(), "m.room.canonical_alias", json!({ "alias": "no" })).await;
    assert_eq!(alias.refusal(), (400, "M_INVALID_PARAM"));
    let all = server.get(&path(&room, "state"), &bob.token).await;
    assert!(all.ok().as_array().is_some_and(|all| all.len() > 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_bundled_and_listed() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    join(&server, &bob, &room).await;
    let root = say(&server, &alice, &room, "root").await;
    let relate = |user: TestUser, event_type: &'static str, relation: Value| {
        let (server, room, root) = (&server, room.clone(), root.clone());
        async move {
            let mut relation = relation;
            relation["event_id"] = json!(root);
            let content = json!({
                "msgtype": "m.text", "body": "*", "m.new_content": { "body": "new" }, "m.relates_to": relation,
            });
            send(server, &user, &room, event_type, content).await
        }
    };
    relate(alice.clone(), "m.room.message", json!({ "rel_type": "m.replace" })).await.ok();
    relate(bob.clone(), "m.reaction", json!({ "rel_type": "m.annotation", "key": "+" })).await.ok();
    let twice = relate(bob.clone(), "m.reaction", json!({ "rel_type": "m.annotation", "key": "+" })).await;
    assert_eq!(twice.refusal(), (400, "M_DUPLICATE_ANNOTATION"));
    for _ in 0..3 {
        relate(bob.clone(), "m.room.message", json!({ "rel_type": "m.thread" })).await.ok();
    }
    let event = server.get(&path(&room, &format!("event/{root}")), &bob.token).await;
    let relations = &event.ok()["unsigned"]["m.relations"];
    assert_eq!(relations["m.replace"]["content"]["m.new_content"]["body"], "new");
    assert_eq!(relations["m.thread"]["count"], 3);
    assert_eq!(relations["m.thread"]["current_user_participated"], true);

    let v1 = format!("/_matrix/client/v1/rooms/{room}");
    let list = format!("{v1}/relations/{root}/m.thread/m.room.message?limit=2");
    let page = server.get(&list, &alice.token).await;
    assert_eq!(page.ok()["chunk"].as_array().map(Vec::len), Some(2));
    let next = page.body["next_batch"].as_str().unwrap_or_default();
    let page = server.get(&format!("{list}&from={next}"), &alice.token).await;
    assert_eq!(page.ok()["chunk"].as_array().map(Vec::len), Some(1));
    assert!(page.body["next_batch"].is_null());
    let all = server.get(&format!("{v1}/relations/{root}"), &alice.token).await;
    assert_eq!(all.ok()["chunk"].as_array().map(Vec::len), Some(5));
    let threads = server.get(&format!("{v1}/threads?include=participated"), &bob.token).await;
    assert_eq!(threads.ok()["chunk"][0]["event_id"], json!(root));
    let missing = server.get(&format!("{v1}/relations/$nothing"), &alice.token).await;
    assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn events_are_sent_and_redacted_without_a_transaction() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        let content = json!({ "msgtype": "m.text", "body": "x" });
        let send = path(&room, "send/m.room.message");
        let id = |answer: &Answer| answer.ok()["event_id"].as_str().expect("an event").to_owned();
        let first = id(&server.post(&send, &alice.token, content.clone()).await);
        let second = id(&server.post(&send, &alice.token, content.clone()).await);
        assert_ne!(first, second);
        assert_eq!(server.post(&send, &bob.token, content.clone()).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.put(&send, &alice.token, content).await.refusal(), (405, "M_UNRECOGNIZED"));

        let redact = path(&room, &format!("redact/{first}"));
        assert_eq!(server.post(&redact, &bob.token, json!({})).await.refusal(), (403, "M_FORBIDDEN"));
        id(&server.post(&redact, &alice.token, json!({ "reason": "wrong" })).await);
        let redacted = server.get(&path(&room, &format!("event/{first}")), &alice.token).await;
        assert_eq!(redacted.ok()["content"], json!({}));
        assert_eq!(redacted.ok()["unsigned"]["redacted_because"]["content"]["reason"], "wrong");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_other_servers_are_looked_up_there() {
    for place in plexus_testkit::places() {
        let aliases: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let known = Arc::clone(&aliases);
        let resolve =
            async move |Query(asked): Query<HashMap<String, String>>| match known.lock().get(&asked["room_alias"]) {
                Some(room) => json!({ "room_id": room, "servers": [] }).to_string().into_response(),
                None => (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND","error":""}"#).into_response(),
            };
        let routes = |_: &ServerName| Router::new().route("/_matrix/federation/v1/query/directory", get(resolve));
        let peer = Peer::answering(routes).await;
        let server = TestServer::on(place).start().await;
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let alias = |name: &str| format!("#{name}:{}", peer.name());
        aliases.lock().insert(alias("right"), room.clone());
        aliases.lock().insert(alias("wrong"), "!other:test.example".to_owned());
        let set = async |alternatives: &[String]| {
            let content = json!({ "alt_aliases": alternatives });
            server.put(&path(&room, "state/m.room.canonical_alias"), &alice.token, content).await
        };
        set(&[alias("right")]).await.ok();
        for name in ["wrong", "unknown"] {
            assert_eq!(set(&[alias("right"), alias(name)]).await.refusal(), (400, "M_BAD_ALIAS"), "{name}");
        }
        // What stands in the room already is not looked up again, and the number of questions has a bound.
        aliases.lock().clear();
        set(&[alias("right")]).await.ok();
        let many: Vec<String> = (0..20).map(|number| alias(&number.to_string())).collect();
        assert_eq!(set(&many).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(set(&["#x:127.0.0.1:1".to_owned()]).await.refusal(), (502, "M_UNKNOWN"));
    }
}
