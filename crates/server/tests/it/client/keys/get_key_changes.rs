//! `GET /keys/changes`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::json;

use crate::client::keys::device_keys;

#[tokio::test]
async fn changed_keys_are_announced_to_users_in_the_same_room() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let body = json!({ "preset": "public_chat" });
        let room = server.post("/_matrix/client/v3/createRoom", &bob.token, body).await;
        let room = room.ok()["room_id"].as_str().unwrap().to_owned();
        let now = async |user: &TestUser| {
            let sync = server.get("/_matrix/client/v3/sync", &user.token).await;
            sync.ok()["next_batch"].as_str().unwrap().to_owned()
        };
        // `/keys/changes`, and what `/sync` says of the same time.
        let changes = async |user: &TestUser, from: &str| {
            let path = format!("/_matrix/client/v3/keys/changes?from={from}&to={from}");
            let answer = server.get(&path, &user.token).await.ok().clone();
            let sync = server.get(&format!("/_matrix/client/v3/sync?timeout=0&since={from}"), &user.token).await;
            let nothing = json!({ "changed": [], "left": [] });
            assert_eq!(sync.ok().get("device_lists").unwrap_or(&nothing), &answer);
            answer
        };
        let act = async |user: &TestUser, what: &str| {
            server.post(&format!("/_matrix/client/v3/rooms/{room}/{what}"), &user.token, json!({})).await.ok();
        };
        let (bobs, alices) = (now(&bob).await, now(&alice).await);
        act(&alice, "join").await;
        assert_eq!(changes(&bob, &bobs).await, json!({ "changed": [alice.id], "left": [] }));
        assert_eq!(changes(&alice, &alices).await, json!({ "changed": [alice.id, bob.id], "left": [] }));

        let (bobs, alices) = (now(&bob).await, now(&alice).await);
        let keys = json!({ "device_keys": device_keys(&alice) });
        server.post("/_matrix/client/v3/keys/upload", &alice.token, keys).await.ok();
        assert_eq!(changes(&bob, &bobs).await["changed"], json!([alice.id]));
        assert_eq!(changes(&alice, &alices).await["changed"], json!([alice.id]));
        assert_eq!(changes(&carol, &bobs).await, json!({ "changed": [], "left": [] }));

        let (bobs, alices) = (now(&bob).await, now(&alice).await);
        act(&alice, "leave").await;
        act(&alice, "join").await;
        assert_eq!(changes(&bob, &bobs).await, json!({ "changed": [alice.id], "left": [] }));
        assert_eq!(changes(&alice, &alices).await, json!({ "changed": [alice.id, bob.id], "left": [] }));

        let (bobs, alices) = (now(&bob).await, now(&alice).await);
        let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
        let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.encryption");
        server.put(&path, &bob.token, encryption).await.ok();
        assert_eq!(changes(&bob, &bobs).await, json!({ "changed": [alice.id], "left": [] }));
        assert_eq!(changes(&alice, &alices).await, json!({ "changed": [bob.id], "left": [] }));

        let (bobs, alices) = (now(&bob).await, now(&alice).await);
        let name = json!({ "displayname": "Alice" });
        let path = format!("/_matrix/client/v3/profile/{}/displayname", alice.id);
        server.put(&path, &alice.token, name).await.ok();
        assert_eq!(changes(&alice, &alices).await, json!({ "changed": [], "left": [] }));
        act(&alice, "leave").await;
        assert_eq!(changes(&bob, &bobs).await, json!({ "changed": [], "left": [alice.id] }));
        assert_eq!(changes(&alice, &alices).await, json!({ "changed": [], "left": [bob.id] }));
        let bad = server.get("/_matrix/client/v3/keys/changes?from=x&to=y", &bob.token).await;
        assert_eq!(bad.refusal(), (400, "M_INVALID_PARAM"));
        let missing = server.get("/_matrix/client/v3/keys/changes?from=s1", &bob.token).await;
        assert_eq!(missing.refusal(), (400, "M_MISSING_PARAM"));
    }
}
