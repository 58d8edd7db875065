//! `PUT /sendToDevice/{event_type}/{txn_id}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, next_batch, sync};

#[tokio::test]
async fn the_device_is_sent_its_key_counts_and_messages() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let first = sync(&server, &bob, None, "").await;
        assert_eq!(first["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
        let keys = json!({ "one_time_keys": { "signed_curve25519:AAAAAQ": { "key": "one" } } });
        server.post(&format!("{CLIENT}/keys/upload"), &bob.token, keys).await.ok();

        let body = json!({ "messages": { &bob.id: { "*": { "secret": 1 } } } });
        let path = format!("{CLIENT}/sendToDevice/m.test/txn");
        server.put(&path, &alice.token, body.clone()).await.ok();
        server.put(&path, &alice.token, body).await.ok();
        let second = sync(&server, &bob, Some(next_batch(&first)), "").await;
        assert_eq!(second["device_one_time_keys_count"], json!({ "signed_curve25519": 1 }));
        let expected = json!([{ "type": "m.test", "sender": alice.id, "content": { "secret": 1 } }]);
        assert_eq!(second["to_device"]["events"], expected);
        let third = sync(&server, &bob, Some(next_batch(&second)), "").await;
        assert!(third["to_device"].is_null());
        assert_eq!(server.put(&path, &alice.token, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
        let wrong = json!({ "messages": { "bob": { "*": {} } } });
        assert_eq!(server.put(&path, &alice.token, wrong).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
