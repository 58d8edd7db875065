//! What wrong and oversized requests get.

use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use super::{PATH, request};

fn one_list(list: Value) -> Value {
    json!({ "lists": { "a": list } })
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let many = |count: usize| -> Vec<String> { (0..count).map(|number| number.to_string()).collect() };
    let named = |count: usize, value: Value| -> Value {
        Value::Object(many(count).into_iter().map(|name| (name, value.clone())).collect())
    };
    let state = |count: usize| many(count).into_iter().map(|name| (name, "")).collect::<Vec<_>>();
    let small = json!({ "timeline_limit": 1 });
    let full = json!({ "timeline_limit": 1, "required_state": state(500) });
    let subscriptions: Value = many(1001).into_iter().map(|name| (format!("!{name}:x"), small.clone())).collect();
    let cases = [
        (json!({ "lists": named(101, small.clone()) }), "M_INVALID_PARAM"),
        (json!({ "lists": { "x".repeat(65): small.clone() } }), "M_INVALID_PARAM"),
        (json!({ "lists": named(11, full) }), "M_INVALID_PARAM"),
        (json!({ "room_subscriptions": subscriptions }), "M_INVALID_PARAM"),
        (json!({ "conn_id": "x".repeat(256) }), "M_INVALID_PARAM"),
        (one_list(json!({ "timeline_limit": 1, "ranges": [[5, 4]] })), "M_INVALID_PARAM"),
        (one_list(json!({ "timeline_limit": 1, "ranges": vec![(0, 0); 101] })), "M_INVALID_PARAM"),
        (one_list(json!({ "timeline_limit": 1, "required_state": state(501) })), "M_INVALID_PARAM"),
        (one_list(json!({ "timeline_limit": 1, "required_state": [["x".repeat(256), ""]] })), "M_INVALID_PARAM"),
        (one_list(json!({ "timeline_limit": 1, "filters": { "tags": many(1001) } })), "M_INVALID_PARAM"),
        (one_list(json!({ "timeline_limit": 1, "filters": { "room_name_like": "x".repeat(256) } })), "M_INVALID_PARAM"),
        (json!({ "extensions": { "to_device": { "enabled": true, "since": "s1_2" } } }), "M_INVALID_PARAM"),
        (json!({ "extensions": { "to_device": { "enabled": true, "since": "-1" } } }), "M_INVALID_PARAM"),
        (json!({ "extensions": { "typing": { "enabled": true, "rooms": many(1001) } } }), "M_INVALID_PARAM"),
        (one_list(json!({ "timeline_limit": 1, "ranges": [[-1, 4]] })), "M_BAD_JSON"),
        (one_list(json!({ "timeline_limit": 1, "ranges": [[1]] })), "M_BAD_JSON"),
        (one_list(json!({ "timeline_limit": 1, "ranges": [[0, 1, 2]] })), "M_BAD_JSON"),
        (one_list(json!({ "timeline_limit": -1 })), "M_BAD_JSON"),
        (one_list(json!({ "timeline_limit": "1" })), "M_BAD_JSON"),
        (one_list(json!({ "timeline_limit": 1, "required_state": [["m.room.name"]] })), "M_BAD_JSON"),
        (one_list(json!({ "timeline_limit": 1, "filters": { "is_dm": "yes" } })), "M_BAD_JSON"),
        (one_list(json!({})), "M_MISSING_PARAM"),
        (json!({ "lists": [] }), "M_BAD_JSON"),
        (json!({ "extensions": { "e2ee": true } }), "M_BAD_JSON"),
        (json!([]), "M_BAD_JSON"),
    ];
    for (body, errcode) in cases {
        let text = body.to_string();
        let refused = request(&server, &alice, None, body).await;
        assert_eq!(refused.refusal(), (400, errcode), "{}", text.chars().take(200).collect::<String>());
    }
    for parameters in ["timeout=soon", "set_presence=bored"] {
        let refused = server.post(&format!("{PATH}?{parameters}"), &alice.token, json!({})).await;
        assert_eq!(refused.refusal(), (400, "M_INVALID_PARAM"), "{parameters}");
    }
}

#[tokio::test]
async fn more_required_state_than_a_connection_keeps_is_refused() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    crate::client::public_room(&server, &alice).await;
    let body = |count: usize| {
        let state: Vec<_> = (0..count).map(|number| (format!("{number:0>200}"), "")).collect();
        one_list(json!({ "timeline_limit": 1, "ranges": [[0, 0]], "required_state": state }))
    };
    request(&server, &alice, None, body(200)).await.ok();
    assert_eq!(request(&server, &alice, None, body(400)).await.refusal(), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn large_but_allowed_requests_are_served() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let room = crate::client::public_room(&server, &alice).await;
    let huge = u64::MAX;
    let body = one_list(json!({
        "timeline_limit": huge,
        "ranges": [[0, huge], [huge, huge]],
        "required_state": [["*", "*"], ["m.room.member", "$LAZY"], ["$ME", "$ME"]],
    }));
    let answer = request(&server, &alice, None, body).await;
    assert_eq!(answer.ok()["rooms"][&room]["initial"], true);
    // An unknown extension is ignored, and so is an empty request.
    let body = json!({ "extensions": { "org.example.new": { "enabled": true } }, "unknown": 1 });
    assert_eq!(request(&server, &alice, None, body).await.ok()["rooms"], json!({}));
    assert_eq!(request(&server, &alice, None, json!({})).await.ok()["rooms"], json!({}));
}

#[tokio::test]
async fn what_does_not_fit_into_a_response_comes_in_the_next_one() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let mut rooms = Vec::new();
    let text = "x".repeat(60_000);
    for _ in 0..3 {
        let room = crate::client::public_room(&server, &alice).await;
        for _ in 0..72 {
            crate::client::say(&server, &alice, &room, &text).await;
        }
        rooms.push(room);
    }
    let body = one_list(json!({ "timeline_limit": 100, "ranges": [[0, 9]] }));
    let first = request(&server, &alice, None, body.clone()).await.ok().clone();
    let has = |response: &Value, room: &String| response["rooms"][room]["initial"] == true;
    assert_eq!([0, 1, 2].map(|at| has(&first, &rooms[at])), [false, true, true], "the rooms with the newest activity");
    let second = request(&server, &alice, Some(super::pos(&first)), body.clone()).await.ok().clone();
    assert_eq!([0, 1, 2].map(|at| has(&second, &rooms[at])), [true, false, false]);
    let third = request(&server, &alice, Some(super::pos(&second)), body).await.ok().clone();
    assert_eq!(third["rooms"], json!({}));
}
