//! Lists: their order, ranges and filters.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::{list, pos, sliding};
use crate::client::{create, join, public_room, room_path, say};

/// The rooms of a response.
fn rooms(response: &Value) -> Vec<&String> {
    response["rooms"].as_object().map(|rooms| rooms.keys().collect()).unwrap_or_default()
}

#[tokio::test]
async fn windows_hold_the_rooms_with_the_newest_activity() {
    for mut server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut all = Vec::new();
        for _ in 0..4 {
            let room = public_room(&server, &alice).await;
            join(&server, &bob, &room).await;
            all.push(room);
        }
        let first = sliding(&server, &bob, None, list(0, 1, 1)).await;
        assert_eq!(first["lists"]["all"]["count"], 4);
        let mut newest = vec![&all[2], &all[3]];
        newest.sort();
        assert_eq!(rooms(&first), newest);
        // A room that comes into the window comes as a whole; the room that leaves it is not forgotten.
        say(&server, &alice, &all[0], "wake up").await;
        let second = sliding(&server, &bob, Some(pos(&first)), list(0, 1, 1)).await;
        assert_eq!(rooms(&second), [&all[0]]);
        assert_eq!(
            (&second["rooms"][&all[0]]["initial"], &second["rooms"][&all[0]]["num_live"]),
            (&json!(true), &json!(1))
        );
        say(&server, &alice, &all[2], "unseen").await;
        say(&server, &alice, &all[1], "newer").await;
        say(&server, &alice, &all[0], "newest").await;
        server.restart().await;
        let third = sliding(&server, &bob, Some(pos(&second)), list(0, 1, 1)).await;
        let mut newest = vec![&all[0], &all[1]];
        newest.sort();
        assert_eq!(rooms(&third), newest);
        let fourth = sliding(&server, &bob, Some(pos(&third)), list(0, 99, 1)).await;
        assert_eq!(rooms(&fourth), [&all[2]], "what is left of the rooms that the client has");
        assert!(fourth["rooms"][&all[2]]["initial"].is_null());
        assert_eq!(fourth["rooms"][&all[2]]["timeline"][0]["content"]["body"], "unseen");
        let ranges = json!({ "lists": { "a": { "ranges": [[0, 0], [2, 2]], "timeline_limit": 0 } } });
        let mut ends = vec![&all[0], &all[2]];
        ends.sort();
        assert_eq!(rooms(&sliding(&server, &bob, None, ranges).await), ends);
    }
}

/// The number of rooms that pass filters.
async fn count(server: &TestServer, user: &TestUser, filters: Value) -> u64 {
    let body = json!({ "lists": { "a": { "ranges": [[0, 0]], "timeline_limit": 0, "filters": filters } } });
    sliding(server, user, None, body).await["lists"]["a"]["count"].as_u64().expect("a count")
}

#[tokio::test]
async fn filters_select_rooms() {
    for mut server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let encryption = json!([{ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
        let encrypted = create(&server, &alice, json!({ "name": "Blue Tea", "initial_state": encryption })).await;
        let plain = create(&server, &alice, json!({ "name": "Coffee" })).await;
        let space = create(&server, &alice, json!({ "creation_content": { "type": "m.space" } })).await;
        let invite = json!({ "name": "Green TEA", "invite": [&alice.id], "initial_state": encryption });
        create(&server, &bob, invite).await;
        let child = room_path(&space, &format!("state/m.space.child/{plain}"));
        server.put(&child, &alice.token, json!({ "via": ["test.example"] })).await.ok();
        let account = format!("/_matrix/client/v3/user/{}", alice.id);
        let direct = json!({ &bob.id: [&plain] });
        server.put(&format!("{account}/account_data/m.direct"), &alice.token, direct).await.ok();
        let tag = format!("{account}/rooms/{encrypted}/tags/m.favourite");
        server.put(&tag, &alice.token, json!({ "order": 0.5 })).await.ok();
        let cases = [
            (json!({}), 4),
            (json!({ "is_dm": true }), 1),
            (json!({ "is_dm": false }), 3),
            (json!({ "is_encrypted": true }), 2),
            (json!({ "is_encrypted": false }), 2),
            (json!({ "is_invite": true }), 1),
            (json!({ "is_invite": false, "is_encrypted": true }), 1),
            (json!({ "room_types": ["m.space"] }), 1),
            (json!({ "room_types": [null] }), 3),
            (json!({ "room_types": [null, "m.space"], "not_room_types": ["m.space"] }), 3),
            (json!({ "not_room_types": [null] }), 1),
            (json!({ "room_name_like": "tea" }), 2),
            (json!({ "tags": ["m.favourite", "u.none"] }), 1),
            (json!({ "tags": ["m.favourite"], "not_tags": ["m.favourite"] }), 0),
            (json!({ "not_tags": ["m.favourite"] }), 3),
            (json!({ "spaces": [&space, "!none:test.example", "nonsense"] }), 1),
            (json!({ "spaces": [] }), 0),
        ];
        for _ in 0..2 {
            for (filters, expected) in &cases {
                assert_eq!(count(&server, &alice, filters.clone()).await, *expected, "{filters}");
            }
            // With nothing in memory.
            server.restart().await;
        }
        server.put(&room_path(&plain, "state/m.room.name"), &alice.token, json!({ "name": "TEA" })).await.ok();
        assert_eq!(count(&server, &alice, json!({ "room_name_like": "tea" })).await, 3);
        server.put(&room_path(&plain, "state/m.room.name"), &alice.token, json!({ "name": ["tea"] })).await;
        server.put(&child, &alice.token, json!({})).await.ok();
        assert_eq!(count(&server, &alice, json!({ "spaces": [&space] })).await, 0);
        let encryption = room_path(&plain, "state/m.room.encryption");
        server.put(&encryption, &alice.token, json!({ "algorithm": "m.megolm.v1.aes-sha2" })).await.ok();
        assert_eq!(count(&server, &alice, json!({ "is_encrypted": true })).await, 3);
    }
}

#[tokio::test]
async fn a_room_in_several_lists_gets_what_all_of_them_want() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let room = create(&server, &alice, json!({ "name": "Tea", "topic": "Green" })).await;
    say(&server, &alice, &room, "one").await;
    say(&server, &alice, &room, "two").await;
    let body = json!({ "lists": {
        "a": { "ranges": [[0, 0]], "timeline_limit": 1, "required_state": [["m.room.name", ""]] },
        "b": { "ranges": [[0, 5]], "timeline_limit": 2, "required_state": [["m.room.topic", "*"]] },
    } });
    let response = sliding(&server, &alice, None, body).await;
    let found = &response["rooms"][&room];
    assert_eq!(super::bodies(found), ["one", "two"]);
    assert_eq!(super::required(found), [("m.room.name", ""), ("m.room.topic", "")]);
}

#[tokio::test]
async fn direct_rooms_are_marked() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let room = create(&server, &alice, json!({})).await;
    let first = sliding(&server, &alice, None, list(0, 9, 0)).await;
    assert!(first["rooms"][&room]["is_dm"].is_null());
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.direct", alice.id);
    server.put(&path, &alice.token, json!({ "@bob:test.example": [&room] })).await.ok();
    let second = sliding(&server, &alice, Some(pos(&first)), list(0, 9, 0)).await;
    assert_eq!(second["rooms"][&room]["is_dm"], true);
    server.put(&path, &alice.token, json!({})).await.ok();
    let third = sliding(&server, &alice, Some(pos(&second)), list(0, 9, 0)).await;
    assert_eq!(third["rooms"][&room]["is_dm"], false);
}
