use plexus_testkit::TestPlace;

use super::*;

async fn change(server: &TestServer, by: &TestUser, room: &str, what: &str, target: &TestUser) -> Answer {
    server.post(&path(room, what), &by.token, json!({ "user_id": target.id, "reason": "because" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn coming_and_going() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        let own = |what: &'static str| {
            let (server, bob, path) = (&server, &bob, path(&room, what));
            async move { server.post(&path, &bob.token, json!({})).await }
        };
        let joining = || own("join");
        assert_eq!(joining().await.refusal(), (403, "M_FORBIDDEN"));
        change(&server, &alice, &room, "invite", &bob).await.ok();
        joining().await.ok();
        assert_eq!(change(&server, &alice, &room, "invite", &bob).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(change(&server, &bob, &room, "kick", &alice).await.refusal(), (403, "M_FORBIDDEN"));
        change(&server, &alice, &room, "kick", &bob).await.ok();
        let member = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
        assert_eq!((&member.ok()["membership"], &member.body["reason"]), (&json!("leave"), &json!("because")));
        change(&server, &alice, &room, "ban", &bob).await.ok();
        assert_eq!(change(&server, &alice, &room, "invite", &bob).await.refusal(), (403, "M_BAD_STATE"));
        assert_eq!(joining().await.refusal(), (403, "M_FORBIDDEN"));
        change(&server, &alice, &room, "unban", &bob).await.ok();
        assert_eq!(change(&server, &alice, &room, "unban", &bob).await.refusal(), (403, "M_BAD_STATE"));
        change(&server, &alice, &room, "invite", &bob).await.ok();
        joining().await.ok();
        let forget = || own("forget");
        assert_eq!(forget().await.refusal(), (400, "M_UNKNOWN"));
        server.post(&path(&room, "leave"), &bob.token, json!({})).await.ok();
        let messages = path(&room, "messages?dir=b");
        server.get(&messages, &bob.token).await.ok();
        forget().await.ok();
        assert_eq!(server.get(&messages, &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
        let joined = server.get("/_matrix/client/v3/joined_rooms", &alice.token).await;
        assert_eq!(joined.ok()["joined_rooms"], json!([room]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests() {
    let server = TestServer::on(TestPlace::sqlite()).config("federation_domain_whitelist: []").start().await;
    let alice = server.register("alice").await;
    let room = public_room(&server, &alice).await;
    for (path, body, refusal) in [
        (path(&room, "invite"), json!({}), (400, "M_MISSING_PARAM")),
        (path(&room, "invite"), json!({ "user_id": "bob" }), (400, "M_INVALID_PARAM")),
        (path(&room, "invite"), json!({ "user_id": 5 }), (400, "M_BAD_JSON")),
        (path(&room, "invite"), json!({ "user_id": "@x:elsewhere.example" }), (403, "M_FORBIDDEN")),
        (path(&room, "kick"), json!({}), (400, "M_MISSING_PARAM")),
        (path(&room, "kick"), json!({ "user_id": "@x:test.example" }), (403, "M_FORBIDDEN")),
        (path("!unknown:test.example", "join"), json!({}), (404, "M_NOT_FOUND")),
        (path("nonsense", "join"), json!({}), (400, "M_INVALID_PARAM")),
        ("/_matrix/client/v3/join/%23none:test.example".to_owned(), json!({}), (404, "M_NOT_FOUND")),
        ("/_matrix/client/v3/join/odd".to_owned(), json!({}), (400, "M_INVALID_PARAM")),
    ] {
        let answer = server.post(&path, &alice.token, body).await;
        assert_eq!(answer.refusal(), refusal, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_now_and_then() {
    let server = TestServer::sqlite().await;
    let (alice, bob, carol) =
        (server.register("alice").await, server.register("bob").await, server.register("carol").await);
    let room = public_room(&server, &alice).await;
    let start = server.get(&path(&room, "messages?dir=b"), &alice.token).await;
    let at = start.ok()["start"].as_str().unwrap_or_default().to_owned();
    join(&server, &bob, &room).await;
    change(&server, &alice, &room, "invite", &carol).await.ok();
    let count = |query: String| {
        let (server, alice, path) = (&server, &alice, path(&room, &format!("members{query}")));
        async move { server.get(&path, &alice.token).await.ok()["chunk"].as_array().map(Vec::len) }
    };
    assert_eq!(count(String::new()).await, Some(3));
    assert_eq!(count("?membership=join".into()).await, Some(2));
    assert_eq!(count("?not_membership=join".into()).await, Some(1));
    assert_eq!(count(format!("?at={at}")).await, Some(1));
    let joined = server.get(&path(&room, "joined_members"), &bob.token).await;
    assert_eq!(joined.ok()["joined"].as_object().map(serde_json::Map::len), Some(2));
    let refused = server.get(&path(&room, "joined_members"), &carol.token).await;
    assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn knocking() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = create(&server, &alice, json!({ "initial_state": rules })).await;
    let knock = format!("/_matrix/client/v3/knock/{room}");
    assert_eq!(server.post(&knock, &bob.token, json!({ "reason": "me" })).await.ok()["room_id"], json!(room));
    let member = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
    assert_eq!(member.ok()["membership"], "knock");
    change(&server, &alice, &room, "invite", &bob).await.ok();
    join(&server, &bob, &room).await;
    let closed = create(&server, &alice, json!({})).await;
    let knock = format!("/_matrix/client/v3/knock/{closed}");
    assert_eq!(server.post(&knock, &bob.token, json!({})).await.refusal(), (403, "M_FORBIDDEN"));
}
