use super::*;
use http::Method;
use plexus_testkit::TestPlace;

const OPEN: &str = "room_list_publication_rules: [{action: allow}]";

#[tokio::test(flavor = "multi_thread")]
async fn aliases_come_and_go() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    let alias = "/_matrix/client/v3/directory/room/%23a:test.example";
    let body = json!({ "room_id": room });
    assert_eq!(server.put(alias, &bob.token, body.clone()).await.refusal(), (403, "M_FORBIDDEN"));
    server.put(alias, &alice.token, body.clone()).await.ok();
    assert_eq!(server.put(alias, &alice.token, body.clone()).await.status, 409);
    let found = server.request(Method::GET, alias, None, None).await;
    assert_eq!((&found.ok()["room_id"], &found.body["servers"]), (&json!(room), &json!(["test.example"])));
    let content = json!({ "alias": "#a:test.example" });
    server.put(&path(&room, "state/m.room.canonical_alias"), &alice.token, content).await.ok();
    assert_eq!(server.get(&path(&room, "aliases"), &alice.token).await.ok()["aliases"], json!(["#a:test.example"]));
    assert_eq!(server.get(&path(&room, "aliases"), &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(server.delete(alias, &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
    let joined = server.post("/_matrix/client/v3/join/%23a:test.example", &bob.token, json!({})).await;
    assert_eq!(joined.ok()["room_id"], json!(room));
    server.delete(alias, &alice.token).await.ok();
    assert_eq!(state(&server, &alice, &room, "m.room.canonical_alias").await.ok()["alias"], Value::Null);
    assert_eq!(server.get(alias, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(server.delete(alias, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    let other = "/_matrix/client/v3/directory/room/%23a:elsewhere.example";
    assert_eq!(server.put(other, &alice.token, body).await.refusal(), (400, "M_INVALID_PARAM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_public_rooms() {
    let server = TestServer::on(TestPlace::sqlite()).config(OPEN).start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let mut rooms = Vec::new();
    for name in ["Apples", "Pears", "Plums"] {
        let body = json!({ "visibility": "public", "name": name, "topic": format!("All about {name}") });
        rooms.push(create(&server, &alice, body).await);
    }
    create(&server, &alice, json!({ "visibility": "public", "creation_content": { "type": "m.space" } })).await;
    create(&server, &alice, json!({ "name": "Hidden" })).await;
    join(&server, &bob, &rooms[1]).await;
    let list = "/_matrix/client/v3/publicRooms";
    let nobody = server.request(Method::GET, list, None, None).await;
    assert_eq!(nobody.refusal(), (401, "M_MISSING_TOKEN"));
    let page = server.get(&format!("{list}?limit=2"), &bob.token).await;
    assert_eq!(page.ok()["total_room_count_estimate"], 4);
    assert_eq!(page.body["chunk"][0]["name"], "Pears");
    assert_eq!(page.body["chunk"][0]["num_joined_members"], 2);
    assert_eq!(page.body["chunk"][0]["join_rule"], "public");
    let next = page.body["next_batch"].as_str().unwrap_or_default();
    let page = server.get(&format!("{list}?limit=2&since={next}"), &bob.token).await;
    assert_eq!(page.ok()["chunk"].as_array().map(Vec::len), Some(2));
    assert!(page.body["next_batch"].is_null());
    let search = |filter: Value| server.post(list, &bob.token, json!({ "filter": filter }));
    assert_eq!(search(json!({ "generic_search_term": "PLUM" })).await.ok()["chunk"][0]["name"], "Plums");
    assert_eq!(search(json!({ "room_types": ["m.space"] })).await.ok()["total_room_count_estimate"], 1);
    assert_eq!(search(json!({ "room_types": [null] })).await.ok()["total_room_count_estimate"], 3);
    let entry = format!("/_matrix/client/v3/directory/list/room/{}", rooms[1]);
    let hide = json!({ "visibility": "private" });
    assert_eq!(server.put(&entry, &bob.token, hide.clone()).await.refusal(), (403, "M_FORBIDDEN"));
    server.put(&entry, &alice.token, hide).await.ok();
    assert_eq!(server.get(&entry, &bob.token).await.ok()["visibility"], "private");
    assert_eq!(search(json!({})).await.ok()["total_room_count_estimate"], 3);
    let odd = server.get(&format!("{list}?since=odd"), &bob.token).await;
    assert_eq!(odd.refusal(), (400, "M_INVALID_PARAM"));
}

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
        server.put(&path(&space, &format!("state/m.space.child/{child}")), &alice.token, content).await.ok();
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
    assert_eq!(hierarchy("?limit=2", alice.token.clone()).await, ("Space Closed".into(), json!("h2")));
    assert_eq!(hierarchy("?limit=2&from=h2", alice.token.clone()).await, ("Open".into(), Value::Null));

    // A room that is no space has no children, whatever its state says; and the servers of a child are strings.
    let content = json!({ "via": ["test.example"] });
    server.put(&path(&open, &format!("state/m.space.child/{closed}")), &alice.token, content).await.ok();
    let answer = server.get(&format!("/_matrix/client/v1/rooms/{open}/hierarchy"), &alice.token).await;
    assert_eq!(answer.ok()["rooms"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer.body["rooms"][0]["children_state"], json!([]));
    let odd = json!({ "via": ["test.example", 5] });
    server.put(&path(&space, &format!("state/m.space.child/{closed}")), &alice.token, odd).await.ok();
    assert_eq!(hierarchy("", alice.token.clone()).await.0, "Space Open");

    let summary = |room: &str| format!("/_matrix/client/v1/room_summary/{room}");
    let answer = server.get(&summary(&open), &bob.token).await;
    assert_eq!((&answer.ok()["name"], &answer.body["membership"]), (&json!("Open"), &json!("leave")));
    assert_eq!(answer.body["room_version"], "12");
    assert_eq!(server.get(&summary(&closed), &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(server.get(&summary(&closed), &alice.token).await.ok()["membership"], "join");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    let event = say(&server, &alice, &room, "rude").await;
    let report = path(&room, &format!("report/{event}"));
    assert_eq!(server.post(&report, &bob.token, json!({})).await.refusal(), (404, "M_NOT_FOUND"));
    join(&server, &bob, &room).await;
    server.post(&report, &bob.token, json!({ "reason": "rude", "score": -100 })).await.ok();
    server.post(&path(&room, "report"), &bob.token, json!({ "reason": "rude" })).await.ok();
    let user = format!("/_matrix/client/v3/users/{}/report", alice.id);
    server.post(&user, &bob.token, json!({ "reason": "rude" })).await.ok();
    let missing = server.post(&path("!none:test.example", "report"), &bob.token, json!({ "reason": "" })).await;
    assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
}
