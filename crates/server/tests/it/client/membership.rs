//! Users who are invited, join, leave, and are removed.

mod forget_room;
mod get_member_events;
mod invite_user;
mod mutual_rooms;

use plexus_testkit::TestPlace;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::json;

use crate::client::{create, public_room, room_path, state};

pub(crate) async fn change(server: &TestServer, by: &TestUser, room: &str, what: &str, target: &TestUser) -> Answer {
    server.post(&room_path(room, what), &by.token, json!({ "user_id": target.id, "reason": "because" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn coming_and_going() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        let own = |what: &'static str| {
            let (server, bob, path) = (&server, &bob, room_path(&room, what));
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
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        let messages = room_path(&room, "messages?dir=b");
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
        (room_path(&room, "invite"), json!({}), (400, "M_MISSING_PARAM")),
        (room_path(&room, "invite"), json!({ "user_id": "bob" }), (400, "M_INVALID_PARAM")),
        (room_path(&room, "invite"), json!({ "user_id": 5 }), (400, "M_BAD_JSON")),
        (room_path(&room, "invite"), json!({ "user_id": "@x:elsewhere.example" }), (403, "M_FORBIDDEN")),
        (room_path(&room, "kick"), json!({}), (400, "M_MISSING_PARAM")),
        (room_path(&room, "kick"), json!({ "user_id": "@x:test.example" }), (403, "M_FORBIDDEN")),
        (room_path("!unknown:test.example", "join"), json!({}), (404, "M_NOT_FOUND")),
        (room_path("nonsense", "join"), json!({}), (400, "M_INVALID_PARAM")),
        ("/_matrix/client/v3/join/%23none:test.example".to_owned(), json!({}), (404, "M_NOT_FOUND")),
        ("/_matrix/client/v3/join/odd".to_owned(), json!({}), (400, "M_INVALID_PARAM")),
    ] {
        let answer = server.post(&path, &alice.token, body).await;
        assert_eq!(answer.refusal(), refusal, "{path}");
    }
}
