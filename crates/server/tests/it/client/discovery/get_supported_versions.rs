//! `GET /versions`.

use http::Method;
use plexus_testkit::TestServer;
use serde_json::json;

#[tokio::test]
async fn health_and_versions() {
    for server in TestServer::on_each().await {
        let health = server.request(Method::GET, "/health", None, None).await;
        assert_eq!((health.status, &health.bytes[..]), (200, &b"OK"[..]));
        let versions = server.request(Method::GET, "/_matrix/client/versions", None, None).await;
        assert!(versions.ok()["versions"].as_array().unwrap().contains(&json!("v1.19")));
    }
}
