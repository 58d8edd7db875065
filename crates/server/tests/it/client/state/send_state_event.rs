//! `PUT /rooms/{room_id}/state/{event_type}/{state_key}`.

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
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{join, public_room, room_path, state};

#[tokio::test(flavor = "multi_thread")]
async fn state_events() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    let put = |token: String, key: &'static str, content: Value| {
        let (server, path) = (&server, room_path(&room, &format!("state/{key}")));
        async move { server.put(&path, &token, content).await }
    };
    let topic = put(alice.token.clone(), "m.room.topic", json!({ "topic": "a" })).await;
    let same = put(alice.token.clone(), "m.room.topic/", json!({ "topic": "a" })).await;
    assert_eq!(topic.ok()["event_id"], same.ok()["event_id"]);
    put(alice.token.clone(), "m.room.topic", json!({ "topic": "b" })).await.ok();
    let event = server.get(&room_path(&room, "state/m.room.topic?format=event"), &alice.token).await;
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
    let all = server.get(&room_path(&room, "state"), &bob.token).await;
    assert!(all.ok().as_array().is_some_and(|all| all.len() > 6));
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
            server.put(&room_path(&room, "state/m.room.canonical_alias"), &alice.token, content).await
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
