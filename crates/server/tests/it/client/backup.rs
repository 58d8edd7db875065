//! Key backup.

use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::json;

#[tokio::test]
async fn key_backup() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let versions = "/_matrix/client/v3/room_keys/version";
        assert_eq!(server.get(versions, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        let body = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "x" } });
        let created = server.post(versions, &alice.token, body.clone()).await;
        assert_eq!(created.ok(), &json!({ "version": "1" }));
        let mut expected = body.clone();
        for (name, value) in [("count", json!(0)), ("etag", json!("0")), ("version", json!("1"))] {
            expected[name] = value;
        }
        assert_eq!(server.get(versions, &alice.token).await.ok(), &expected);
        assert_eq!(server.get(&format!("{versions}/1"), &alice.token).await.ok(), &expected);
        assert_eq!(server.get(&format!("{versions}/x"), &alice.token).await.refusal(), (404, "M_NOT_FOUND"));

        let key = json!({
            "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": { "ciphertext": "c" },
        });
        let keys = "/_matrix/client/v3/room_keys/keys";
        let room = "%21room%3Ax";
        let all = json!({ "rooms": { "!room:x": { "sessions": { "s1": key, "s/2": key } } } });
        let stamp = server.put(&format!("{keys}?version=1"), &alice.token, all.clone()).await;
        assert_eq!(stamp.ok(), &json!({ "etag": "1", "count": 2 }));
        let of_room = json!({ "sessions": { "s3": key } });
        server.put(&format!("{keys}/{room}?version=1"), &alice.token, of_room).await.ok();
        server.put(&format!("{keys}/{room}/s4?version=1"), &alice.token, key.clone()).await.ok();
        let shown = server.get(&format!("{keys}/{room}/s%2F2?version=1"), &alice.token).await;
        assert_eq!(shown.ok(), &key);
        let sessions = server.get(&format!("{keys}/{room}?version=1"), &alice.token).await;
        assert_eq!(sessions.ok()["sessions"].as_object().unwrap().len(), 4);
        let none = server.get(&format!("{keys}/{room}/nope?version=1"), &alice.token).await;
        assert_eq!(none.refusal(), (404, "M_NOT_FOUND"));
        let wrong = server.put(&format!("{keys}?version=2"), &alice.token, all.clone()).await;
        assert_eq!(wrong.refusal(), (403, "M_WRONG_ROOM_KEYS_VERSION"));
        assert_eq!(wrong.body["current_version"], "1");
        assert_eq!(server.put(keys, &alice.token, all).await.refusal(), (400, "M_MISSING_PARAM"));
        let bad = json!({ "sessions": { "s": { "first_message_index": -1 } } });
        assert_eq!(server.put(&format!("{keys}/{room}?version=1"), &alice.token, bad).await.refusal().1, "M_BAD_JSON");

        let deleted = server.delete(&format!("{keys}/{room}/s1?version=1"), &alice.token).await;
        assert_eq!(deleted.ok()["count"], 3);
        assert_eq!(server.delete(&format!("{keys}?version=1"), &alice.token).await.ok()["count"], 0);
        server.request(Method::DELETE, &format!("{versions}/1"), Some(&alice.token), None).await.ok();
        assert_eq!(server.get(versions, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    }
}
