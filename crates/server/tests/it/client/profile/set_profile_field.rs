//! `PUT /profile/{user_id}/{field}`.

use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{public_room, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_and_its_copies() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let profile = format!("/_matrix/client/v3/profile/{}", alice.id);
        let room = public_room(&server, &alice).await;
        let set = |field: &'static str, body: Value| {
            let (server, path, token) = (&server, format!("{profile}/{field}"), alice.token.clone());
            async move { server.put(&path, &token, body).await }
        };
        set("displayname", json!({ "displayname": "Alice A." })).await.ok();
        set("avatar_url", json!({ "avatar_url": "mxc://test.example/a" })).await.ok();
        set("org.example.mood", json!({ "org.example.mood": { "good": true } })).await.ok();
        let all = server.request(Method::GET, &profile, None, None).await;
        assert_eq!(
            all.ok(),
            &json!({
                "displayname": "Alice A.", "avatar_url": "mxc://test.example/a",
                "org.example.mood": { "good": true },
            })
        );
        let one = server.get(&format!("{profile}/displayname"), &bob.token).await;
        assert_eq!(one.ok(), &json!({ "displayname": "Alice A." }));
        let member = state(&server, &alice, &room, &format!("m.room.member/{}", alice.id)).await;
        assert_eq!(member.ok()["displayname"], "Alice A.");
        assert_eq!(member.body["avatar_url"], "mxc://test.example/a");
        server.delete(&format!("{profile}/avatar_url"), &alice.token).await.ok();
        let member = state(&server, &alice, &room, &format!("m.room.member/{}", alice.id)).await;
        assert_eq!(member.ok()["avatar_url"], Value::Null);
        for (field, body, refusal) in [
            ("displayname", json!({}), (400, "M_MISSING_PARAM")),
            ("displayname", json!({ "displayname": 5 }), (400, "M_INVALID_PARAM")),
            ("avatar_url", json!({ "avatar_url": "http://x" }), (400, "M_INVALID_PARAM")),
            ("Odd", json!({ "Odd": 1 }), (400, "M_INVALID_PARAM")),
            ("big", json!({ "big": "x".repeat(70_000) }), (400, "M_PROFILE_TOO_LARGE")),
        ] {
            assert_eq!(set(field, body).await.refusal(), refusal, "{field}");
        }
        let other = server.put(&format!("{profile}/displayname"), &bob.token, json!({ "displayname": "x" })).await;
        assert_eq!(other.refusal(), (403, "M_FORBIDDEN"));
        let missing = server.get("/_matrix/client/v3/profile/@nobody:test.example", &bob.token).await;
        assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
    }
}
