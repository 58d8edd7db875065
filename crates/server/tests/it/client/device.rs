//! Devices: listed, named and deleted.

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_testkit::places;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{LOGIN, WHOAMI, password_login, post_unauthenticated, with_password};

#[tokio::test]
async fn devices() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let login = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
        let other = login.ok()["device_id"].as_str().unwrap();
        let path = format!("/_matrix/client/v3/devices/{other}");
        server.put(&path, &alice.token, json!({ "display_name": "Tablet" })).await.ok();
        let shown = server.get(&path, &alice.token).await;
        assert_eq!((&shown.ok()["display_name"], &shown.ok()["device_id"]), (&json!("Tablet"), &json!(other)));
        let long = server.put(&path, &alice.token, json!({ "display_name": "x".repeat(101) })).await;
        assert_eq!(long.refusal(), (400, "M_TOO_LARGE"));
        let unknown = "/_matrix/client/v3/devices/NOPE";
        assert_eq!(server.get(unknown, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(server.put(unknown, &alice.token, json!({ "display_name": "x" })).await.refusal().0, 404);
        let no_id = server.get("/_matrix/client/v3/devices/a%00", &alice.token).await;
        assert_eq!(no_id.refusal(), (400, "M_INVALID_PARAM"));

        let first = server.delete(&path, &alice.token).await;
        assert_eq!(first.status, 401);
        let body = with_password(&alice, &first.body["session"], json!({}));
        server.request(Method::DELETE, &path, Some(&alice.token), Some(body)).await.ok();
        assert_eq!(server.get(&path, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        let token = login.body["access_token"].as_str().unwrap();
        assert_eq!(server.get(WHOAMI, token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));

        let bulk = "/_matrix/client/v3/delete_devices";
        assert_eq!(server.post(bulk, &alice.token, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
        let body = json!({ "devices": [alice.device_id, "NOPE"] });
        let first = server.post(bulk, &alice.token, body.clone()).await;
        let body = with_password(&alice, &first.body["session"], body);
        server.post(bulk, &alice.token, body).await.ok();
        assert_eq!(server.get(WHOAMI, &alice.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
}

#[tokio::test]
async fn devices_that_are_not_used_are_deleted() {
    const DAY: Duration = Duration::from_secs(86_400);
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let config = "delete_stale_devices_after: 30d";
        let server = TestServer::on(place).clock(clock.clone()).config(config).start().await;
        let alice = server.register("alice").await;
        let login = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
        let (unused, token) = (&login.ok()["device_id"], login.body["access_token"].as_str().unwrap());
        server.get(WHOAMI, token).await.ok();
        let devices = async || -> Vec<Value> {
            let list = server.get("/_matrix/client/v3/devices", &alice.token).await;
            let devices = list.ok()["devices"].as_array().unwrap();
            devices.iter().map(|device| device["device_id"].clone()).collect()
        };
        let mut days = 0;
        let mut ticks = plexus_testkit::every(Duration::from_millis(20));
        let deleted = async {
            while devices().await.contains(unused) {
                clock.advance(DAY);
                days += 1;
                ticks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(30), deleted).await.expect("it is deleted");
        assert!(days > 30, "deleted after {days} days");
        assert_eq!(devices().await, [json!(alice.device_id)]);
        assert_eq!(server.get(WHOAMI, token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
}
