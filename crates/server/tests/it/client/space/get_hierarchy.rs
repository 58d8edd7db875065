//! `GET /rooms/{room_id}/hierarchy`, `GET /org.matrix.msc2946/rooms/{room_id}/hierarchy`.

use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{create, room_path};

#[tokio::test(flavor = "multi_thread")]
async fn summaries_and_spaces() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" }, "name": "Space" });
    let space = create(&server, &alice, space).await;
    let open = create(&server, &alice, json!({ "preset": "public_chat", "name": "Open" })).await;
    let closed = create(&server, &alice, json!({ "name": "Closed" })).await;
    for (order, child) in [("b", &open), ("a", &closed)] {
        let content = json!({ "via": ["test.example"], "order": order });
        server.put(&room_path(&space, &format!("state/m.space.child/{child}")), &alice.token, content).await.ok();
    }
    let hierarchy = |query: &'static str, token: String| {
        let path = format!("/_matrix/client/v1/rooms/{space}/hierarchy{query}");
        let server = &server;
        async move {
            let answer = server.get(&path, &token).await;
            let names = answer.ok()["rooms"].as_array().cloned().unwrap_or_default();
            let names: Vec<String> = names.iter().filter_map(|room| room["name"].as_str().map(str::to_owned)).collect();
            (names.join(" "), answer.body["next_batch"].clone())
        }
    };
    assert_eq!(hierarchy("", alice.token.clone()).await.0, "Space Closed Open");
    assert_eq!(hierarchy("", bob.token.clone()).await.0, "Space Open");
    assert_eq!(hierarchy("?max_depth=0", bob.token.clone()).await.0, "Space");
    assert_eq!(hierarchy("?suggested_only=true", bob.token.clone()).await.0, "Space");
    assert_eq!(hierarchy("?limit=2", alice.token.clone()).await, ("Space Closed".into(), json!("h_2")));
    assert_eq!(hierarchy("?limit=2&from=h_2", alice.token.clone()).await, ("Open".into(), Value::Null));

    let path = format!("/_matrix/client/v1/rooms/{space}/hierarchy?limit=2&from=h_2");
    for changed in ["&max_depth=1", "&suggested_only=true"] {
        let other_walk = server.get(&format!("{path}{changed}"), &alice.token).await;
        assert_eq!(other_walk.refusal(), (400, "M_INVALID_PARAM"), "{changed}");
    }

    // A room that is no space has no children, whatever its state says; and the servers of a child are strings.
    let content = json!({ "via": ["test.example"] });
    server.put(&room_path(&open, &format!("state/m.space.child/{closed}")), &alice.token, content).await.ok();
    let answer = server.get(&format!("/_matrix/client/v1/rooms/{open}/hierarchy"), &alice.token).await;
    assert_eq!(answer.ok()["rooms"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer.body["rooms"][0]["children_state"], json!([]));
    let odd = json!({ "via": ["test.example", 5] });
    server.put(&room_path(&space, &format!("state/m.space.child/{closed}")), &alice.token, odd).await.ok();
    assert_eq!(hierarchy("", alice.token.clone()).await.0, "Space Open");

    let summary = |room: &str| format!("/_matrix/client/v1/room_summary/{room}");
    let answer = server.get(&summary(&open), &bob.token).await;
    assert_eq!((&answer.ok()["name"], &answer.body["membership"]), (&json!("Open"), &json!("leave")));
    assert_eq!(answer.body["room_version"], "12");
    assert_eq!(server.get(&summary(&closed), &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(server.get(&summary(&closed), &alice.token).await.ok()["membership"], "join");
}
