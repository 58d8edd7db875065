//! Devices: listed, named and deleted.

use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::json;

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
