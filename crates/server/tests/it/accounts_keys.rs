//! End-to-end encryption keys and their backup.

use http::Method;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::json::Object;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::accounts::with_password;

pub(crate) fn device_keys(user: &TestUser) -> Value {
    let device = &user.device_id;
    json!({
        "user_id": user.id, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { format!("ed25519:{device}"): "key" }, "signatures": { &user.id: {} },
    })
}

#[tokio::test]
async fn keys_are_uploaded_queried_and_claimed() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let upload = "/_matrix/client/v3/keys/upload";
        let body = json!({
            "device_keys": device_keys(&alice),
            "one_time_keys": { "signed_curve25519:AAAAAQ": { "key": "one" } },
            "fallback_keys": { "signed_curve25519:AAAAAg": { "key": "two", "fallback": true } },
        });
        let counts = server.post(upload, &alice.token, body).await;
        assert_eq!(counts.ok(), &json!({ "one_time_key_counts": { "signed_curve25519": 1 } }));
        let other = json!({ "one_time_keys": { "signed_curve25519:AAAAAQ": { "key": "other" } } });
        assert_eq!(server.post(upload, &alice.token, other).await.refusal(), (400, "M_INVALID_PARAM"));
        let foreign = json!({ "device_keys": device_keys(&bob) });
        assert_eq!(server.post(upload, &alice.token, foreign).await.refusal(), (400, "M_INVALID_PARAM"));

        let query = json!({ "device_keys": { &alice.id: [], "@nobody:test.example": [], "@x:elsewhere": [] } });
        let found = server.post("/_matrix/client/v3/keys/query", &bob.token, query).await;
        assert_eq!(found.ok()["device_keys"][&alice.id][&alice.device_id], device_keys(&alice));
        assert_eq!(found.ok()["device_keys"]["@nobody:test.example"], json!({}));
        assert!(found.ok()["failures"]["elsewhere"].is_object());
        for bad in [json!({}), json!({ "device_keys": [] }), json!({ "device_keys": { "x": [] } })] {
            assert_eq!(server.post("/_matrix/client/v3/keys/query", &bob.token, bad).await.status, 400);
        }

        let claim = json!({ "one_time_keys": { &alice.id: { &alice.device_id: "signed_curve25519" } } });
        for expected in ["signed_curve25519:AAAAAQ", "signed_curve25519:AAAAAg", "signed_curve25519:AAAAAg"] {
            let claimed = server.post("/_matrix/client/v3/keys/claim", &bob.token, claim.clone()).await;
            let key = &claimed.ok()["one_time_keys"][&alice.id][&alice.device_id];
            assert!(key.get(expected).is_some(), "{key}");
        }
        let sync = server.get("/_matrix/client/v3/sync", &alice.token).await;
        assert_eq!(sync.ok()["device_unused_fallback_key_types"], json!([]));
    }
}

/// A cross-signing key, signed by `signer` if given.
pub(crate) fn cross_signing(user: &TestUser, purpose: &str, seed: u8, signer: Option<u8>) -> Value {
    let key = SigningKey::generate(&[seed; 32], "x").public_key_base64();
    let mut object = json!({
        "user_id": user.id, "usage": [purpose], "keys": { format!("ed25519:{key}"): key },
    });
    if let Some(signer) = signer {
        let signer = SigningKey::generate(&[signer; 32], "x");
        let signature = signer.sign(Object::parse(&object.to_string()).unwrap().to_json().as_bytes());
        let name = format!("ed25519:{}", signer.public_key_base64());
        object["signatures"] = json!({ &user.id: { name: signature } });
    }
    object
}

#[tokio::test]
async fn cross_signing_keys_are_replaced_only_with_authentication() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let path = "/_matrix/client/v3/keys/device_signing/upload";
        let keys = |master: u8| {
            json!({
                "master_key": cross_signing(&alice, "master", master, None),
                "self_signing_key": cross_signing(&alice, "self_signing", 50, Some(master)),
                "user_signing_key": cross_signing(&alice, "user_signing", 60, Some(master)),
            })
        };
        let mut unsigned = keys(1);
        unsigned["self_signing_key"] = cross_signing(&alice, "self_signing", 50, Some(2));
        assert_eq!(server.post(path, &alice.token, unsigned).await.refusal(), (400, "M_INVALID_SIGNATURE"));
        let alone = json!({ "self_signing_key": cross_signing(&alice, "self_signing", 50, Some(1)) });
        assert_eq!(server.post(path, &alice.token, alone).await.refusal(), (400, "M_MISSING_PARAM"));
        server.post(path, &alice.token, keys(1)).await.ok();
        server.post(path, &alice.token, keys(1)).await.ok();
        let first = server.post(path, &alice.token, keys(2)).await;
        assert_eq!(first.status, 401);
        server.post(path, &alice.token, with_password(&alice, &first.body["session"], keys(2))).await.ok();
        let query = json!({ "device_keys": { &alice.id: [] } });
        let found = server.post("/_matrix/client/v3/keys/query", &alice.token, query).await;
        assert_eq!(found.ok()["master_keys"][&alice.id], cross_signing(&alice, "master", 2, None));

        let signatures = json!({ &alice.id: { "NOPE": {} }, "@bob:test.example": { "x": [] } });
        let answer = server.post("/_matrix/client/v3/keys/signatures/upload", &alice.token, signatures).await;
        assert_eq!(answer.ok()["failures"][&alice.id]["NOPE"]["errcode"], "M_NOT_FOUND");
        assert_eq!(answer.ok()["failures"]["@bob:test.example"]["x"]["errcode"], "M_INVALID_PARAM");
    }
}

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
