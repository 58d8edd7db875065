//! `POST /createRoom`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::json;

use crate::client::{create, join, room_path, say, state};

/// `(type, state_key)` of every event, oldest first.
async fn order(server: &TestServer, user: &TestUser, room: &str) -> Vec<String> {
    let answer = server.get(&room_path(room, "messages?dir=f&limit=100"), &user.token).await;
    let chunk = answer.ok()["chunk"].as_array().cloned().unwrap_or_default();
    chunk.iter().filter_map(|event| event["type"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_come_in_the_order_of_the_specification() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let body = json!({
            "preset": "private_chat", "name": "N", "topic": "T", "room_alias_name": "here", "invite": [bob.id],
            "is_direct": true,
            "initial_state": [{ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }],
            "creation_content": { "type": "m.space" },
            "power_level_content_override": { "events_default": 10 },
        });
        let room = create(&server, &alice, body).await;
        assert_eq!(
            order(&server, &alice, &room).await,
            [
                "m.room.create",
                "m.room.member",
                "m.room.power_levels",
                "m.room.canonical_alias",
                "m.room.join_rules",
                "m.room.history_visibility",
                "m.room.guest_access",
                "m.room.encryption",
                "m.room.name",
                "m.room.topic",
                "m.room.member",
            ]
        );
        let create = state(&server, &alice, &room, "m.room.create").await;
        assert_eq!((create.ok()["type"].as_str(), create.body["room_version"].as_str()), (Some("m.space"), Some("12")));
        let levels = state(&server, &alice, &room, "m.room.power_levels/").await;
        assert_eq!(levels.ok()["events_default"], 10);
        assert_eq!(levels.body["users"], json!({}));
        let invite = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
        assert_eq!((&invite.ok()["membership"], &invite.body["is_direct"]), (&json!("invite"), &json!(true)));
        let alias = server.get("/_matrix/client/v3/directory/room/%23here:test.example", &alice.token).await;
        assert_eq!(alias.ok()["room_id"], room);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_of_all_versions() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for version in 1..=12 {
            let body = json!({ "room_version": version.to_string(), "preset": "public_chat" });
            let room = create(&server, &alice, body).await;
            assert_eq!(room.contains(':'), version < 12, "{room}");
            join(&server, &bob, &room).await;
            let said = say(&server, &bob, &room, "hello").await;
            // Ids of room version 3 may hold a slash.
            let event = format!("event/{}", said.replace('/', "%2F").replace('+', "%2B"));
            let event = server.get(&room_path(&room, &event), &alice.token).await;
            assert_eq!(event.ok()["content"]["body"], "hello");
            assert_eq!(event.body["room_id"], room);
            let create = state(&server, &alice, &room, "m.room.create").await;
            assert_eq!(create.ok()["creator"].as_str(), (version < 11).then_some(alice.id.as_str()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_rooms_are_not_created() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        create(&server, &alice, json!({ "room_alias_name": "taken" })).await;
        for (body, refusal) in [
            (json!({ "room_alias_name": "taken" }), (400, "M_ROOM_IN_USE")),
            (json!({ "room_alias_name": "a b" }), (400, "M_INVALID_PARAM")),
            (json!({ "room_version": "99" }), (400, "M_UNSUPPORTED_ROOM_VERSION")),
            (json!({ "room_version": 11 }), (400, "M_BAD_JSON")),
            (json!({ "preset": "odd" }), (400, "M_BAD_JSON")),
            (json!({ "visibility": "odd" }), (400, "M_INVALID_PARAM")),
            (json!({ "invite": ["nobody"] }), (400, "M_INVALID_PARAM")),
            (
                json!({ "power_level_content_override": { "users": { "@alice:test.example": 100 } } }),
                (400, "M_INVALID_ROOM_STATE"),
            ),
            (
                json!({ "room_version": "11", "power_level_content_override": { "users": {} } }),
                (400, "M_INVALID_ROOM_STATE"),
            ),
            (json!({ "name": "x".repeat(70_000) }), (413, "M_TOO_LARGE")),
            (json!({ "initial_state": [{ "type": "org.example", "content": { "n": 1.5 } }] }), (400, "M_BAD_JSON")),
            (json!([]), (400, "M_BAD_JSON")),
        ] {
            let answer = server.post("/_matrix/client/v3/createRoom", &alice.token, body.clone()).await;
            assert_eq!(answer.refusal(), refusal, "{body}");
        }
    }
}

/// As Synapse has it: whoever may not publish a room has made it nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_room_that_may_not_be_published_is_not_listed() {
    for place in plexus_testkit::places() {
        let rules = "room_list_publication_rules: [{user_id: '@alice:*', alias: '#open*', action: allow}]";
        let server = TestServer::on(place).config(rules).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for (user, alias, listed) in
            [(&alice, "open", "public"), (&alice, "other", "private"), (&bob, "open2", "private")]
        {
            let room = create(&server, user, json!({ "visibility": "public", "room_alias_name": alias })).await;
            let entry = format!("/_matrix/client/v3/directory/list/room/{room}");
            assert_eq!(server.get(&entry, &bob.token).await.ok()["visibility"], listed, "{alias}");
            assert_eq!(state(&server, user, &room, "m.room.join_rules").await.ok()["join_rule"], "public");
            let alias = format!("/_matrix/client/v3/directory/room/%23{alias}:test.example");
            assert_eq!(server.get(&alias, &bob.token).await.ok()["room_id"], room);
        }
        let list = server.get("/_matrix/client/v3/publicRooms", &bob.token).await;
        assert_eq!(list.ok()["total_room_count_estimate"], 1);
    }
    // By default nobody may.
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let room = create(&server, &alice, json!({ "visibility": "public" })).await;
    let entry = format!("/_matrix/client/v3/directory/list/room/{room}");
    assert_eq!(server.get(&entry, &alice.token).await.ok()["visibility"], "private");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_that_a_room_begins_with_has_a_bound() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let ask = async |count: usize| {
            let event = |number: usize| json!({ "type": "x", "state_key": number.to_string(), "content": {} });
            let body = json!({ "initial_state": (0..count).map(event).collect::<Vec<_>>() });
            server.post("/_matrix/client/v3/createRoom", &alice.token, body).await
        };
        ask(1_000).await.ok();
        assert_eq!(ask(1_001).await.refusal(), (413, "M_TOO_LARGE"));
    }
}
