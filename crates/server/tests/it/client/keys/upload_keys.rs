//! `POST /keys/upload`, `POST /keys/upload/{device_id}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::keys::device_keys;

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
