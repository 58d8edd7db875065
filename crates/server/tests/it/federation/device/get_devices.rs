//! `GET /user/devices/{user_id}`.

use plexus_testkit::{Peer, TestServer};
use serde_json::json;

use crate::federation::OPEN;

#[tokio::test(flavor = "multi_thread")]
async fn devices_and_their_keys() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(OPEN).start().await;
        let peer = Peer::start().await;
        let alice = server.register("alice").await;
        let device = alice.device_id.as_str();
        let keys = json!({
            "user_id": alice.id, "device_id": device, "algorithms": [], "signatures": {},
            "keys": { format!("ed25519:{device}"): "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw" },
        });
        let one_time = json!({ "signed_curve25519:AAAA": { "key": "x", "signatures": {} } });
        let upload = json!({ "device_keys": keys, "one_time_keys": one_time });
        server.post("/_matrix/client/v3/keys/upload", &alice.token, upload).await.ok();
        let name = json!({ "display_name": "Telephone" });
        server.put(&format!("/_matrix/client/v3/devices/{device}"), &alice.token, name).await.ok();

        let list = peer.get(&server, "/_matrix/federation/v1/user/devices/%40alice%3Atest.example").await;
        assert_eq!(list.ok()["user_id"], json!(alice.id));
        assert!(list.body["stream_id"].as_i64().is_some_and(|id| id > 0), "{:?}", list.body);
        assert_eq!(
            list.body["devices"],
            json!([{ "device_id": device, "device_display_name": "Telephone", "keys": keys }])
        );
        let unknown = peer.get(&server, "/_matrix/federation/v1/user/devices/@nobody:test.example").await;
        assert_eq!(unknown.refusal(), (404, "M_NOT_FOUND"));

        let wanted = json!({ "device_keys": { &alice.id: [], "@nobody:else.example": [] } });
        let found = peer.post(&server, "/_matrix/federation/v1/user/keys/query", wanted).await;
        assert_eq!(found.ok()["device_keys"][&alice.id][device]["keys"], keys["keys"]);
        assert_eq!(found.body["device_keys"].as_object().map(|users| users.len()), Some(1));

        let claim = json!({ "one_time_keys": { &alice.id: { device: "signed_curve25519" } } });
        let claimed = peer.post(&server, "/_matrix/federation/v1/user/keys/claim", claim.clone()).await;
        assert_eq!(claimed.ok()["one_time_keys"][&alice.id][device], one_time);
        let again = peer.post(&server, "/_matrix/federation/v1/user/keys/claim", claim).await;
        assert_eq!(again.ok(), &json!({ "one_time_keys": {} }), "a one-time key is given out once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_devices_are_nobodys_business() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let alice = server.register("alice").await;
    let device = alice.device_id.as_str();
    let keys = json!({
        "user_id": alice.id, "device_id": device, "algorithms": [], "signatures": {},
        "keys": { format!("ed25519:{device}"): "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw" },
    });
    server.post("/_matrix/client/v3/keys/upload", &alice.token, json!({ "device_keys": keys })).await.ok();
    let name = json!({ "display_name": "Telephone" });
    server.put(&format!("/_matrix/client/v3/devices/{device}"), &alice.token, name).await.ok();
    let list = peer.get(&server, "/_matrix/federation/v1/user/devices/@alice:test.example").await;
    assert_eq!(list.ok()["devices"], json!([{ "device_id": device, "keys": keys }]));
    let wanted = json!({ "device_keys": { &alice.id: [] } });
    let found = peer.post(&server, "/_matrix/federation/v1/user/keys/query", wanted).await;
    assert_eq!(found.ok()["device_keys"][&alice.id][device], keys);
}
