//! Dehydrated devices (MSC3814).

mod get_events;
mod put_dehydrated_device;

use plexus_testkit::places;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

const PATH: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

async fn servers() -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        let config = "experimental_features: {msc3814_enabled: true}";
        servers.push(TestServer::on(place).config(config).start().await);
    }
    servers
}

/// A request that stores a dehydrated device with this id, as clients make it.
fn request(user: &TestUser, device: &str) -> Value {
    let device_keys = json!({
        "user_id": user.id, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"], "dehydrated": true,
        "keys": { format!("ed25519:{device}"): "key" }, "signatures": { &user.id: {} },
    });
    json!({
        "device_id": device,
        "device_data": { "algorithm": "org.matrix.msc3814.v1.olm", "device_pickle": "cGlja2xl" },
        "initial_device_display_name": "Dehydrated device",
        "device_keys": device_keys,
        "one_time_keys": { "signed_curve25519:AAAAAQ": { "key": "one" } },
        "fallback_keys": { "signed_curve25519:AAAAAA": { "key": "last", "fallback": true } },
    })
}

async fn dehydrate(server: &TestServer, user: &TestUser, device: &str) {
    let stored = server.put(PATH, &user.token, request(user, device)).await;
    assert_eq!(stored.ok(), &json!({ "device_id": device }));
}

/// Sends a message to each device of a user.
async fn send(server: &TestServer, sender: &TestUser, to: &TestUser, number: u64) {
    let path = format!("/_matrix/client/v3/sendToDevice/m.test/txn{number}");
    let body = json!({ "messages": { &to.id: { "*": { "number": number } } } });
    server.put(&path, &sender.token, body).await.ok();
}
