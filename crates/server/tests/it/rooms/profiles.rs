use super::*;
use http::Method;

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

#[tokio::test(flavor = "multi_thread")]
async fn finding_users() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let search = |term: &'static str| {
            let (server, alice) = (&server, &alice);
            async move {
                let body = json!({ "search_term": term });
                server.post("/_matrix/client/v3/user_directory/search", &alice.token, body).await.ok().clone()
            }
        };
        assert_eq!(search("bob").await["results"], json!([]));
        public_room(&server, &bob).await;
        assert_eq!(search("@BO").await["results"][0]["user_id"], json!(bob.id));
        let name = format!("/_matrix/client/v3/profile/{}/displayname", bob.id);
        server.put(&name, &bob.token, json!({ "displayname": "Robert 100%" })).await.ok();
        assert_eq!(search("rob").await["results"][0]["display_name"], "Robert 100%");
        assert_eq!(search("100%").await["results"].as_array().map(Vec::len), Some(1));
        assert_eq!(search("1_0%").await["results"], json!([]));
        assert_eq!(search("alice").await, json!({ "results": [], "limited": false }));
    }
}
