//! `PUT /profile/{user_id}/{field}`.

use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::media::{GIF, place, upload};
use crate::client::{CLIENT, create, on_each_with, public_room, room_path, state};

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

const FORBIDDEN: (u16, &str) = (403, "M_FORBIDDEN");

#[tokio::test(flavor = "multi_thread")]
async fn avatars_are_of_the_allowed_size_and_type() {
    let config = "max_avatar_size: 1K\nallowed_avatar_mimetypes: [image/gif]";
    for server in on_each_with(config).await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let uploaded = async |content_type: &str, bytes: &'static [u8]| {
            format!("mxc://{}", place(&upload(&server, &alice, "", content_type, bytes).await))
        };
        let allowed = uploaded("image/gif", GIF).await;
        let profile = format!("{CLIENT}/profile/{}/avatar_url", alice.id);
        let member = room_path(&room, &format!("state/m.room.member/{}", alice.id));
        for refused in [
            uploaded("image/png", GIF).await,
            uploaded("image/gif", &[b'a'; 1025]).await,
            "mxc://test.example/unknown".to_owned(),
            "mxc://elsewhere.example/unknown".to_owned(),
            "mxc://test.example/a\u{0}".to_owned(),
            "mxc://test.example".to_owned(),
        ] {
            let set = server.put(&profile, &alice.token, json!({ "avatar_url": refused })).await;
            assert_eq!(set.refusal(), FORBIDDEN, "{refused}");
            let in_room = json!({ "membership": "join", "avatar_url": refused });
            assert_eq!(server.put(&member, &alice.token, in_room.clone()).await.refusal(), FORBIDDEN, "{refused}");
            let own = json!({ "type": "m.room.member", "state_key": alice.id, "content": in_room });
            let room = json!({ "initial_state": [own] });
            let created = server.post(&format!("{CLIENT}/createRoom"), &alice.token, room).await;
            assert_eq!(created.refusal(), FORBIDDEN, "{refused}");
        }
        let in_room = json!({ "membership": "join", "avatar_url": allowed });
        server.put(&member, &alice.token, in_room).await.ok();
        server.put(&profile, &alice.token, json!({ "avatar_url": allowed })).await.ok();
        server.put(&profile, &alice.token, json!({ "avatar_url": "" })).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_differ_by_room_where_that_is_allowed() {
    for (allowed, shown) in [(true, "Other"), (false, "alice")] {
        for server in on_each_with(&format!("allow_per_room_profiles: {allowed}")).await {
            let alice = server.register("alice").await;
            let member = format!("m.room.member/{}", alice.id);
            let content = json!({ "membership": "join", "displayname": "Other" });
            let room = public_room(&server, &alice).await;
            server.put(&room_path(&room, &format!("state/{member}")), &alice.token, content.clone()).await.ok();
            assert_eq!(state(&server, &alice, &room, &member).await.ok()["displayname"], shown);
            let own = json!({ "type": "m.room.member", "state_key": alice.id, "content": content });
            let room = create(&server, &alice, json!({ "initial_state": [own] })).await;
            assert_eq!(state(&server, &alice, &room, &member).await.ok()["displayname"], shown);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_rooms_as_they_are_if_asked_to() {
    for enabled in [true, false] {
        let config = format!("experimental_features: {{msc4069_profile_inhibit_propagation: {enabled}}}");
        for server in on_each_with(&config).await {
            let alice = server.register("alice").await;
            let room = public_room(&server, &alice).await;
            let profile = format!("{CLIENT}/profile/{}/displayname", alice.id);
            let path = format!("{profile}?org.matrix.msc4069.propagate=false");
            server.put(&path, &alice.token, json!({ "displayname": "New" })).await.ok();
            assert_eq!(server.get(&profile, &alice.token).await.ok()["displayname"], "New");
            let member = state(&server, &alice, &room, &format!("m.room.member/{}", alice.id)).await;
            assert_eq!(member.ok()["displayname"], if enabled { "alice" } else { "New" });
            let path = format!("{profile}?org.matrix.msc4069.propagate=perhaps");
            let odd = server.put(&path, &alice.token, json!({ "displayname": "Odd" })).await;
            assert_eq!(odd.refusal(), (400, "M_INVALID_PARAM"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_have_an_unstable_path_where_that_is_enabled() {
    for enabled in [true, false] {
        for server in on_each_with(&format!("experimental_features: {{msc4133_enabled: {enabled}}}")).await {
            let alice = server.register("alice").await;
            let path = format!("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{}/org.example.a", alice.id);
            let set = server.put(&path, &alice.token, json!({ "org.example.a": 1 })).await;
            if enabled {
                set.ok();
                assert_eq!(server.get(&path, &alice.token).await.ok(), &json!({ "org.example.a": 1 }));
                server.delete(&path, &alice.token).await.ok();
                assert_eq!(server.get(&path, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
            } else {
                assert_eq!(set.refusal(), (404, "M_UNRECOGNIZED"));
                assert_eq!(server.get(&path, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
                assert_eq!(server.delete(&path, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
            }
        }
    }
}
